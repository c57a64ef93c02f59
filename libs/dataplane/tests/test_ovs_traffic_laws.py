"""Law 2 for TrafficControls: after any steps, flows and ports are what the same inputs give from scratch."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.groups import Member
from sluice.contracts.programs import Direction
from sluice.contracts.traffic_control import NamedDevice, TrafficPort, UdpTunnel
from sluice.contracts.traffic_programs import TrafficProgram
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.flow import Flows, Output
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.traffic import Traffic
from sluice.dataplane.ovs.traffic_ports import Found, Wish, missing, removable
from sluice.testkit.examples import share
from sluice.testkit.steering import BOTH, GROUPS, MEMBERS, PODS, internal, mirror, redirect

NAMES = ("t1", "t2", "t3", "t4", "t5")
TAPS = ("tap0", "tap1", "tap2")
OTHERS = (
    TrafficPort(device=NamedDevice(name="tap0")),
    TrafficPort(vxlan=UdpTunnel(remote_ip="192.0.2.1", vni=1)),
    TrafficPort(geneve=UdpTunnel(remote_ip="192.0.2.1")),
)
TARGETS = (*map(internal, TAPS), *OTHERS)
DIRECTIONS = ((Direction.INGRESS,), (Direction.EGRESS,), BOTH)
AGES = ("", "2024-01-01T00:00:00.000000Z", "2025-01-01T00:00:00.000000Z")


@st.composite
def programs(draw: st.DrawFn) -> TrafficProgram:
    name, group = draw(st.sampled_from(NAMES)), draw(st.sampled_from(sorted(GROUPS)))
    directions, target = draw(st.sampled_from(DIRECTIONS)), draw(st.sampled_from(TARGETS))
    if draw(st.booleans()):
        return replace(mirror(name, group, "tap0", directions), target=target, created=draw(st.sampled_from(AGES)))
    made = redirect(name, group, directions=directions, created=draw(st.sampled_from(AGES)))
    gone = draw(st.sampled_from(("drop", "pass")))
    return replace(made, target=target, return_port=draw(st.sampled_from(TARGETS)), when_gone=gone)


pods = st.sampled_from(sorted(PODS))
actions = st.one_of(
    st.tuples(st.just("put"), programs()),
    st.tuples(st.just("put"), programs()),
    st.tuples(st.just("retarget"), st.tuples(st.sampled_from(NAMES), st.sampled_from(TARGETS))),
    st.tuples(st.just("drop"), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(("open", "close")), pods),
    st.tuples(st.sampled_from(("join", "leave")), st.tuples(st.sampled_from(sorted(GROUPS)), pods)),
    st.tuples(st.sampled_from(("breaks", "heals")), st.sampled_from(TAPS)),
    st.tuples(st.just("restart"), st.none()),
)
steps = st.tuples(actions, st.integers(0, 2))
"""What happens, and how many turns the shell has then."""


class World:
    """What the node is told, what its switch has, and what came of it step by step."""

    def __init__(self) -> None:
        self.ids = RuleIds()
        self.programs: dict[str, TrafficProgram] = {}
        self.members = {group: set(pods) for group, pods in MEMBERS.items()}
        self.open = set(PODS)
        self.broken: set[str] = set()
        self.ports: dict[str, Found] = {}
        self.traffic, self.flows = Traffic(self.ids), Flows()
        self.tell(self.traffic)

    def tell(self, traffic: Traffic) -> None:
        """All that is so, to somebody who knows nothing."""
        for name in sorted(self.open):
            traffic.open_port(PODS[name])
        for group in GROUPS:
            traffic.members_are(GROUPS[group], self._of(group))
        for program in self.programs.values():
            traffic.put(program)
        traffic.switch_has(self._found(), {})

    def step(self, action: tuple[str, object], turns: int = 0) -> None:
        match action:
            case "put", TrafficProgram(name=name) as program:
                before = self.programs.get(name)
                self.programs[name] = program
                self.traffic.put(program)
                if before is not None and before.applied_to != program.applied_to:
                    self.traffic.drop(before.applied_to, before.unit)
            case "retarget", (str(name), TrafficPort() as target) if name in self.programs:
                self.programs[name] = replace(self.programs[name], target=target)
                self.traffic.put(self.programs[name])
            case "drop", str(name) if name in self.programs:
                gone = self.programs.pop(name)
                self.traffic.drop(gone.applied_to, gone.unit)
            case "open", str(pod):
                self.open.add(pod)
                self.traffic.open_port(PODS[pod])
            case "close", str(pod):
                self.open.discard(pod)
                self.traffic.close_port(PODS[pod].uid)
            case "join" | "leave", (str(group), str(pod)):
                (self.members[group].add if action[0] == "join" else self.members[group].discard)(pod)
                self.traffic.members_are(GROUPS[group], self._of(group))
            case "breaks" | "heals", str(tap):
                (self.broken.add if action[0] == "breaks" else self.broken.discard)(tap)
                self.traffic.switch_has(self._found(), {})
            case "restart", _:
                self.traffic = Traffic(self.ids)
                self.tell(self.traffic)
                self.traffic.forget_unused()
                self.flows = self.traffic.flows
                self.traffic.drain()
        self.drain()
        for _ in range(turns):
            self.shell()
            self.drain()

    def shell(self) -> None:
        """One turn: make what is missing, and remove what nobody needs."""
        wishes = self.traffic.wishes()
        for name in removable(self.ports, wishes):
            del self.ports[name]
        for wish in missing(self.ports, wishes):
            self.ports[wish.name] = Found(wish.name, wish.type, "ours", self._number(wish))
        self.traffic.switch_has(self._found(), {})

    def settle(self) -> None:
        for _ in range(6):
            self.shell()
        self.drain()

    def drain(self) -> None:
        for key, body in self.traffic.drain():
            if body is None:
                del self.flows[key]
            else:
                check(key, body)
                self.flows[key] = body

    def _found(self) -> dict[str, Found]:
        return {
            name: one._replace(ofport=None, error="gone") if name in self.broken else one
            for name, one in self.ports.items()
        }

    def _of(self, group: str) -> Iterable[Member]:
        ports = (PODS[one] for one in self.members[group])
        return [Member(pod=port.pod, uid=port.uid, addresses=port.addresses) for port in ports]

    def _number(self, wish: Wish) -> int:
        return 100 + (*TAPS, "vxlan", "geneve").index(wish.type if wish.options else wish.name)


@share(60)
@given(st.lists(steps, min_size=5, max_size=40))
def test_step_by_step_comes_to_what_the_same_inputs_give_from_scratch(story):
    world = World()
    for step in story:
        world.step(*step)
    world.settle()
    fresh = Traffic(world.ids)
    world.tell(fresh)

    assert fresh.flows == world.flows
    assert fresh.wishes() == world.traffic.wishes()
    assert fresh.problems() == world.traffic.problems()
    assert fresh.counted() == world.traffic.counted()
    assert set(world.ports) == set(world.traffic.wishes())


@share(60)
@given(st.lists(steps, min_size=5, max_size=40))
def test_no_flow_leads_to_a_port_that_may_be_removed(story):
    world = World()
    for step in story:
        world.step(*step)

        wishes = world.traffic.wishes()
        going = {world.ports[name].ofport for name in removable(world.ports, wishes)}
        assert going.isdisjoint(targets(world.flows))


@share(30)
@given(st.lists(steps, max_size=20))
def test_nothing_is_left_when_all_are_gone(story):
    world = World()
    for step in story:
        world.step(*step)
    for name in NAMES:
        world.step(("drop", name))
    world.settle()

    assert (world.flows, world.ports, world.traffic.counted(), len(world.ids.traffic)) == ({}, {}, {}, 0)


def targets(flows: Flows) -> set[int]:
    """Ports that flows send to."""
    return {action.port for body in flows.values() for action in body.actions if isinstance(action, Output)}
