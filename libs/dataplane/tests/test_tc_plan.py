"""What it costs to change what a hook holds, and in which order that is done."""

from collections import Counter
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from sluice.contracts.groups import Attachment, Member, Page
from sluice.contracts.ids import NEVER, Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    GroupPeer,
    Origin,
    PortRange,
    Program,
    Rule,
    TransportTraffic,
)
from sluice.dataplane.addresses import address
from sluice.dataplane.protocols import EthType
from sluice.dataplane.tc.content import EVERYTHING_CLOSED, EVERYTHING_OPEN, Content, Mode
from sluice.dataplane.tc.engine import Engine, InterfaceKey
from sluice.dataplane.tc.filter import Accept, FilterBody, FilterKey, Goto, Hook, Standing
from sluice.dataplane.tc.lower import next_epoch
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.openings import Opening
from sluice.dataplane.tc.operations import AddFilter, DeleteChain, DeleteFilter, Operation, ReplaceFilter, Settle
from sluice.dataplane.tc.owner import CookieKind, Place, chain, is_root, pack, place_of, unpack
from sluice.dataplane.tc.plan import narrowed, patch, plan, retire, sweep
from sluice.testkit.tc_node import HERE, frame
from sluice.testkit.tc_walker import Device, Frame, Tracker

OWN, PEERS, MORE, EVERY = (GroupId(name) for name in ("own", "peers", "more", "every"))
KEY = InterfaceKey(Uid("a"), "x/net", "net1")
ELSEWHERE = NodeName("node-2")
ZONE = 7
Mirrors = dict[Hook, Mirror]


def traffic(*ports: int | tuple[int, int]) -> tuple[TransportTraffic, ...]:
    ranges = [(one, one) if isinstance(one, int) else one for one in ports]
    return tuple(TransportTraffic(protocol="TCP", ports=PortRange(*one)) for one in ranges)


def rule(*ports: int | tuple[int, int], index: int = 0, peers: GroupId = PEERS) -> Rule:
    return Rule(
        index=index,
        direction=Direction.EGRESS,
        action=Action.ALLOW,
        peers=(GroupPeer(group=peers),),
        traffic=traffic(*ports),
    )


def program(*rules: Rule, name: str = "np", isolates: tuple[Direction, ...] = (Direction.EGRESS,)) -> Program:
    return Program(
        unit=Unit(f"multinetworkpolicies:x:{name}"),
        applied_to=OWN,
        cause=NEVER,
        origin=Origin(kind=Kind.MULTI_NETWORK_POLICY, namespace="x", name=name, uid=Uid(name)),
        tier=K8S_TIER,
        priority=0,
        rules=rules,
        isolates=isolates,
    )


def member(name: str, *addresses: str, tagged: bool = False) -> Member:
    return Member(
        pod=f"x/{name}",
        uid=Uid(name),
        addresses=tuple(Address(one) for one in addresses),
        attachment=Attachment(network="x/net", interface="net1", attached=True, tagged=tagged),
    )


def peers(count: int) -> list[Member]:
    return [member(f"p{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}") for number in range(count)]


def engine(*programs: Program, members: list[Member], tagged: bool = False) -> Engine:
    made = Engine(HERE)
    made.put_page(Page(group=OWN, node=HERE, cause=NEVER, members=(member("a", "10.9.9.9", tagged=tagged),)))
    made.put_page(Page(group=PEERS, node=ELSEWHERE, cause=NEVER, members=tuple(members)))
    for one in programs:
        made.put_program(one)
    return made


def made(of: Engine, mirrors: Mirrors | None = None) -> Mirrors:
    """The interface as it is once all was done."""
    mirrors = mirrors or {hook: Mirror() for hook in Hook}
    of.drain()
    for hook, operation in plan(of.contents(KEY), mirrors, ZONE):
        mirrors[hook].apply((operation,))
    return mirrors


def patched(of: Engine, mirrors: Mirrors) -> list[Operation]:
    """What the change of members asks for at the hook of egress; it is made."""
    change = of.drain()[KEY]
    assert not change.whole
    operations: list[Operation] = []
    for hook, addresses in change.addresses.items():
        found = patch(of.contents(KEY)[hook], addresses, mirrors[hook], hook)
        assert found is not None
        mirrors[hook].apply(found)
        operations += found
    return operations


RANGES = tuple((1000 * number, 1000 * number + 500) for number in range(1, 51))


def test_filters_are_as_many_as_addresses_and_ports_and_not_their_product():
    mirrors = made(engine(program(rule(*RANGES)), members=peers(1_000)))

    assert 1_000 + 50 <= len(mirrors[Hook.INGRESS].filters) < 1_200
    assert len(mirrors[Hook.EGRESS].filters) < 30


@pytest.mark.parametrize("count", [100, 1_000, 10_000])
def test_an_address_that_comes_or_goes_is_one_filter(count: int):
    everybody = peers(count)
    of = engine(program(rule(*RANGES)), members=everybody)
    mirrors = made(of)

    of.put_page(Page(group=MORE, node=ELSEWHERE, cause=NEVER, members=(member("q", "10.8.0.1"),)))
    of.put_page(Page(group=PEERS, node=NodeName("node-3"), cause=NEVER, members=(member("q", "10.8.0.1"),)))
    (came,) = patched(of, mirrors)
    of.drop_page(PEERS, NodeName("node-3"))
    (went,) = patched(of, mirrors)

    assert isinstance(came, AddFilter)
    assert came.key.match.destination == address("10.8.0.1")
    assert went == DeleteFilter(came.key, came.handle)
    assert plan(of.contents(KEY), mirrors, ZONE) == []


def test_an_address_that_has_other_ports_is_one_filter_replaced():
    of = engine(program(rule(80), rule(90, index=1, peers=MORE)), members=peers(3))
    of.put_page(Page(group=MORE, node=ELSEWHERE, cause=NEVER, members=(member("q", "10.8.0.1"),)))
    mirrors = made(of)

    of.put_page(Page(group=MORE, node=ELSEWHERE, cause=NEVER, members=(member("q", "10.8.0.1"), *peers(1))))
    operations = patched(of, mirrors)

    kinds = Counter(type(one) for one in operations)
    assert kinds == {AddFilter: 5, ReplaceFilter: 1}  # a chain for both ports, IPv4 and IPv6, and what ends it
    assert isinstance(operations[-1], ReplaceFilter)
    assert plan(of.contents(KEY), mirrors, ZONE) == []


NARROWED = [
    ("goes", [], ["10.8.0.1"]),
    ("has other ports", [(MORE, "10.8.0.1")], ["10.8.0.1"]),
    ("has more ports", [(PEERS, "10.8.0.1"), (MORE, "10.8.0.1")], []),
    ("has all ports", [(EVERY, "10.8.0.1")], []),
    ("is joined by another", [(PEERS, "10.8.0.1"), (MORE, "10.8.0.2")], []),
]


@pytest.mark.parametrize(("name", "after", "expected"), NARROWED, ids=[row[0] for row in NARROWED])
def test_connections_of_an_address_end_where_less_is_open(name, after, expected):
    every = Rule(index=2, direction=Direction.EGRESS, action=Action.ALLOW, peers=(GroupPeer(group=EVERY),))
    of = engine(program(rule(80), rule((90, 95), index=1, peers=MORE), every), members=[])
    put = {PEERS: [member("q", "10.8.0.1")], MORE: [], EVERY: []}
    for group, members in put.items():
        of.put_page(Page(group=group, node=ELSEWHERE, cause=NEVER, members=tuple(members)))
    mirrors = made(of)
    before = Mirror(mirrors[Hook.INGRESS].filters)

    for group in put:
        now = tuple(member(f"q{number}", one) for number, (at, one) in enumerate(after) if at == group)
        of.put_page(Page(group=group, node=ELSEWHERE, cause=NEVER, members=now))

    assert narrowed(patched(of, mirrors), before) == {address(one) for one in expected}


def test_a_chain_of_ports_goes_with_the_last_address_that_leads_to_it():
    of = engine(program(rule(80), rule(90, index=1, peers=MORE)), members=peers(3))
    of.put_page(Page(group=MORE, node=ELSEWHERE, cause=NEVER, members=(member("q", "10.8.0.1"),)))
    mirrors = made(of)

    of.drop_page(MORE, ELSEWHERE)
    deleted, settled, ended = patched(of, mirrors)

    assert isinstance(deleted, DeleteFilter)
    assert settled == Settle()
    assert isinstance(ended, DeleteChain)
    assert plan(of.contents(KEY), mirrors, ZONE) == []


def test_a_change_of_policy_is_a_new_generation_behind_one_root():
    of = engine(program(rule(80)), members=peers(3))
    mirrors = made(of)
    of.put_program(program(rule(81)))
    assert of.drain()[KEY].whole

    for hook in Hook:
        steps = [one.operation for one in plan(of.contents(KEY), mirrors, ZONE) if one.hook is hook]
        kinds = [type(one) for one in steps if not isinstance(one, Settle)]
        roots = [one for one in steps if isinstance(one, AddFilter | ReplaceFilter) and is_root(one.key)]
        swap = steps.index(roots[0])
        assert [type(one) for one in roots] == [ReplaceFilter]
        assert set(kinds[:swap]) == {AddFilter}
        assert set(kinds[swap + 1 :]) == {DeleteChain}


def test_old_chains_go_when_no_packet_is_in_them_any_more():
    of = engine(program(rule(80)), members=peers(3))
    mirrors = made(of)
    of.put_program(program(rule(81)))

    steps = [one.operation for one in plan(of.contents(KEY), mirrors, ZONE)]

    settle = steps.index(Settle())
    assert all(isinstance(one, DeleteChain) for one in steps[settle + 1 :])
    assert not any(isinstance(one, DeleteChain) for one in steps[:settle])


def test_the_last_filter_of_a_chain_comes_first():
    of = engine(program(rule(80)), members=peers(3))
    seen: set[int] = set()

    for step in plan(of.contents(KEY), {hook: Mirror() for hook in Hook}, ZONE):
        if isinstance(step.operation, AddFilter) and step.hook is Hook.INGRESS:
            key = step.operation.key
            if key.chain not in seen and key.chain and place_of(key.chain) != Place.ACCEPT:
                assert key.pref == 65_535
            seen.add(key.chain)


def test_a_restart_finds_everything_in_the_kernel():
    of = engine(program(rule(80)), members=peers(3))
    mirrors = made(of)
    of.put_program(program(rule(81)))
    made(of, mirrors)

    again = {hook: Mirror(dict(mirror.filters)) for hook, mirror in mirrors.items()}

    assert plan(of.contents(KEY), again, ZONE) == []
    assert [again[hook].epoch for hook in Hook] == [2, 2]
    assert [again[hook].zone for hook in Hook] == [ZONE, ZONE]
    assert [again[hook].polices for hook in Hook] == [True, False]


def drop_one(mirror: Mirror, kind: CookieKind) -> None:
    for key, standing in mirror.filters.items():
        said = unpack(standing.body.cookie)
        if said is not None and said.kind is kind:
            mirror.apply((DeleteFilter(key, standing.handle),))
            return
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", list(CookieKind))
def test_what_somebody_took_away_comes_back(kind: CookieKind):
    of = engine(program(rule(80)), members=peers(3))
    mirrors = made(of)
    drop_one(mirrors[Hook.INGRESS], kind)

    assert plan(of.contents(KEY), mirrors, ZONE) != []
    made(of, mirrors)

    assert plan(of.contents(KEY), mirrors, ZONE) == []


@pytest.mark.parametrize("place", [Place.ENTRY, Place.CLASSES, Place.ACCEPT, Place.PORTS])
@pytest.mark.parametrize("generation", [0, 1])
def test_what_somebody_put_into_our_chains_goes(place: Place, generation: int):
    of = engine(program(rule(80)), members=peers(3))
    mirrors = made(of)
    hole = FilterKey(chain(generation, place), 9, EthType.ALL)
    mirrors[Hook.INGRESS].apply((AddFilter(hole, 1, FilterBody((Accept(),), b"")),))

    made(of, mirrors)

    assert hole not in mirrors[Hook.INGRESS].filters
    assert plan(of.contents(KEY), mirrors, ZONE) == []


def test_what_an_interrupted_plan_left_goes_before_its_place_is_taken():
    of = engine(program(rule(80)), members=peers(3))
    mirrors = made(of)
    of.put_program(program(rule(81)))
    steps = plan(of.contents(KEY), mirrors, ZONE)
    for hook, operation in steps[:7]:
        mirrors[hook].apply((operation,))
    of.put_program(program(rule(82)))

    made(of, mirrors)

    assert plan(of.contents(KEY), mirrors, ZONE) == []
    assert all(len({one >> 23 for one in mirror.chains}) == 1 for mirror in mirrors.values())


def fate(mirrors: Mirrors, sent: Frame, tracker: Tracker) -> bool:
    return Device({hook: mirrors[hook].filters for hook in Hook}, tracker).sends(sent)


def answer(mirrors: Mirrors, sent: Frame, tracker: Tracker) -> bool:
    return Device({hook: mirrors[hook].filters for hook in Hook}, tracker).receives(sent.turned)


BOTH = (Direction.INGRESS, Direction.EGRESS)


def test_connections_that_are_revoked_are_asked_again_and_replies_wait_for_that():
    of = engine(program(rule(80), rule(81, index=1), isolates=BOTH), members=peers(3))
    mirrors, tracker = made(of), Tracker()
    stays, goes = (frame("10.9.9.9", "10.0.0.1", "TCP", port) for port in (80, 81))
    assert all(fate(mirrors, one, tracker) and answer(mirrors, one, tracker) for one in (stays, goes))

    of.put_program(program(rule(80), isolates=BOTH))
    made(of, mirrors)
    assert answer(mirrors, stays, tracker), "within the grace replies of both pass"
    assert answer(mirrors, goes, tracker)
    assert not fate(mirrors, goes, tracker)
    for hook in Hook:
        mirrors[hook].apply(retire(mirrors[hook]))
    assert not answer(mirrors, stays, tracker), "nobody has asked for it again yet"
    assert fate(mirrors, stays, tracker)
    assert answer(mirrors, stays, tracker)
    assert not answer(mirrors, goes, tracker)

    for hook, operation in plan(of.contents(KEY), mirrors, ZONE, revoke=True):
        mirrors[hook].apply((operation,))
    assert not answer(mirrors, stays, tracker), "a revocation has no grace"
    assert fate(mirrors, stays, tracker)
    assert answer(mirrors, stays, tracker)


def test_who_left_has_no_connections_once_their_marks_are_off():
    of = engine(program(rule(80), isolates=BOTH), members=peers(3))
    mirrors, tracker = made(of), Tracker()
    goes, stays = (frame("10.9.9.9", f"10.0.0.{last}", "TCP", 80) for last in (2, 1))
    assert all(fate(mirrors, one, tracker) and answer(mirrors, one, tracker) for one in (stays, goes))
    before = Mirror(mirrors[Hook.INGRESS].filters)

    of.put_page(Page(group=PEERS, node=ELSEWHERE, cause=NEVER, members=tuple(peers(2))))
    (gone,) = narrowed(patched(of, mirrors), before)
    tracker.unmark(ZONE, gone)

    assert not answer(mirrors, goes, tracker)
    assert not fate(mirrors, goes, tracker)
    assert answer(mirrors, stays, tracker)
    assert fate(mirrors, stays, tracker)


def test_epochs_go_round_and_none_is_nobodys():
    assert next_epoch(0) == 1
    assert next_epoch(1) == 2
    assert next_epoch(0xFFFF_FFFE) == 1


def test_an_interface_of_nobody_passes_arp_and_neighbour_discovery_alone():
    mirrors = {hook: Mirror() for hook in Hook}
    for hook, operation in plan(EVERYTHING_CLOSED, mirrors, ZONE):
        mirrors[hook].apply((operation,))

    device = Device({hook: mirrors[hook].filters for hook in Hook}, Tracker())
    solicitation = frame("fe80::1", "ff02::1:ff00:1", "ICMP")._replace(icmp_type=135)
    for way in (device.sends, device.receives):
        assert way(Frame(EthType.ARP))
        assert way(solicitation)
        assert not way(frame("10.0.0.1", "10.0.0.2", "TCP", 80))
        assert not way(frame("fd00::1", "fd00::2", "ICMP"))
    assert plan(EVERYTHING_CLOSED, mirrors, ZONE) == []


def test_nothing_of_ours_is_left_of_a_pod_that_is_gone():
    """13: the engine says that it is nobody's, and sweeping takes all of it."""
    of = engine(program(rule(80)), members=peers(3))
    mirrors = made(of)

    of.drop_page(OWN, HERE)
    assert of.drain()[KEY].whole
    assert of.contents(KEY) == EVERYTHING_OPEN
    for mirror in mirrors.values():
        operations = sweep(mirror)
        assert isinstance(operations[0], DeleteFilter), "the root first: nothing drops what nobody polices"
        mirror.apply(operations)

    assert all(not mirror.filters for mirror in mirrors.values())


def test_16_one_interface_changes_and_no_other_is_looked_at():
    of = engine(program(rule(80)), members=peers(3))
    other = Member(pod="x/b", uid=Uid("b"), attachment=Attachment(network="x/net", interface="net1"))
    of.put_page(Page(group=GroupId("others"), node=HERE, cause=NEVER, members=(other,)))
    of.put_program(replace(program(rule(80, peers=MORE)), applied_to=GroupId("others")))
    assert set(of.drain()) == {KEY, InterfaceKey(Uid("b"), "x/net", "net1")}

    of.put_page(Page(group=PEERS, node=ELSEWHERE, cause=NEVER, members=tuple(peers(4))))

    assert set(of.drain()) == {KEY}


def test_without_zones_there_are_no_marks():
    of = engine(program(rule(80)), members=peers(3))
    mirrors = {hook: Mirror() for hook in Hook}
    for hook, operation in plan(of.contents(KEY), mirrors, None):
        mirrors[hook].apply((operation,))

    assert all(key.match.ct_mark is None for mirror in mirrors.values() for key in mirror.filters)
    assert plan(of.contents(KEY), mirrors, None) == []
    assert plan(of.contents(KEY), mirrors, ZONE) != []


def test_a_trunk_has_two_filters_for_an_address():
    of = engine(program(rule(80)), members=peers(10), tagged=True)
    mirrors = made(of)

    of.put_page(Page(group=PEERS, node=ELSEWHERE, cause=NEVER, members=tuple(peers(9))))

    assert [type(one) for one in patched(of, mirrors)] == [DeleteFilter, DeleteFilter]


def test_a_root_that_leads_nowhere_of_ours_is_replaced():
    of = engine(program(rule(80)), members=peers(3))
    key = FilterKey(0, 0x4E00, EthType.ALL)
    stray = {key: Standing(FilterBody((Goto(3),), pack(CookieKind.ROOT)), 5)}
    mirrors = made(of, {Hook.INGRESS: Mirror(stray), Hook.EGRESS: Mirror()})

    assert mirrors[Hook.INGRESS].filters[key].handle == 5
    assert plan(of.contents(KEY), mirrors, ZONE) == []


def contents(mode: Mode) -> Mapping[Hook, Content]:
    return dict.fromkeys(Hook, Content(mode))


@pytest.mark.parametrize("first", list(Mode))
@pytest.mark.parametrize("second", list(Mode))
def test_every_mode_can_follow_every_other(first: Mode, second: Mode):
    mirrors = {hook: Mirror() for hook in Hook}
    for wanted in (contents(first), contents(second)):
        for hook, operation in plan(wanted, mirrors, ZONE):
            mirrors[hook].apply((operation,))
        assert plan(wanted, mirrors, ZONE) == []


def test_17_a_counter_can_name_its_rules():
    of = engine(
        program(rule(80, (100, 200))),
        program(rule(150, peers=MORE), rule(90, index=1), name="other"),
        members=peers(3),
    )
    mirrors = made(of)

    found = {}
    for standing in mirrors[Hook.INGRESS].filters.values():
        said = unpack(standing.body.cookie)
        if said is not None and said.kind is CookieKind.PORT:
            named = of.rules(KEY, Hook.INGRESS, standing.body.cookie)
            found[Opening.of(said.reference)] = [(unit.rpartition(":")[2], index) for unit, index in named]
    assert found == {
        Opening(6, 80, 80): [("np", 0)],
        Opening(6, 90, 90): [("other", 1)],
        Opening(6, 100, 200): [("np", 0), ("other", 0)],
    }


def test_rules_that_cannot_be_filters_allow_nothing_and_say_why():
    names = TransportTraffic(protocol="TCP", ports="web")
    rules = [
        Rule(index=0, direction=Direction.EGRESS, action=Action.DROP),
        Rule(index=1, direction=Direction.EGRESS, action=Action.ALLOW, peers=(BlockPeer(cidr="10.0.0.0/33"),)),
        Rule(
            index=2,
            direction=Direction.EGRESS,
            action=Action.ALLOW,
            peers=(BlockPeer(cidr="10.0.0.0/8"),),
            traffic=(names,),
        ),
    ]
    of = engine(program(*rules), members=peers(1))

    assert of.contents(KEY)[Hook.INGRESS].addresses == {}
    reasons = [problem.reason for problem in of.problems()]
    assert [f"rule {number}" in reasons[number] for number in range(3)] == [True] * 3
    assert all(";" in reason for reason in reasons)


def test_a_member_with_an_address_that_is_none_is_told():
    of = engine(program(rule(80)), members=[member("q", "10.0.0")])

    assert of.contents(KEY)[Hook.INGRESS].addresses == {}
    assert [problem.unit for problem in of.problems()] == ["pods:x:q"]
