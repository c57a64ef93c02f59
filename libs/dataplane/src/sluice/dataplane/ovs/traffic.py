"""The TrafficControls of a node, maintained incrementally: the cost of a change is proportional to the Pods concerned.

Each Pod has an ordered list of the TrafficControls that select it. All that mirror take effect; of those that redirect
the same direction only the first does, and the others are reported.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from sluice.contracts.groups import Member
from sluice.contracts.ids import GroupId, Uid, Unit
from sluice.contracts.programs import Direction
from sluice.contracts.status import Problem
from sluice.contracts.traffic_programs import TrafficProgram
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.traffic_copies import Copies, Pair, Set, units_of
from sluice.dataplane.ovs.traffic_counts import Counted, Counter
from sluice.dataplane.ovs.traffic_flows import Redirect, Watched, pod_flows, return_flows
from sluice.dataplane.ovs.traffic_ports import Found, Wish
from sluice.dataplane.ovs.traffic_ways import Ways

_MOST_PODS = 3
"""How many Pods a problem names; of the others it gives the number."""

_SAID = {Direction.INGRESS: "receive", Direction.EGRESS: "send"}


class Lost(NamedTuple):
    """A redirect without effect, because that of `to` takes precedence."""

    unit: Unit
    direction: Direction
    to: Unit


class _Pod(NamedTuple):
    """What is done for one Pod."""

    pod: str
    sent: Set
    received: Set
    lost: tuple[Lost, ...]
    flows: Flows


class Traffic:
    """Mutable; `drain` returns what changed. Nothing raises: what is impossible is reported by `problems`."""

    def __init__(self, ids: RuleIds) -> None:
        self._ids = ids
        self._ways = Ways()
        self._copies = Copies(ids, self._ways.standing)
        self._units_of: dict[GroupId, set[Unit]] = {}
        self._members: dict[GroupId, frozenset[Uid]] = {}
        self._groups_of: dict[Uid, set[GroupId]] = {}
        self._ports: dict[Uid, LocalPort] = {}
        self._pods: dict[Uid, _Pod] = {}
        self._lost: dict[Unit, dict[Lost, set[str]]] = {}
        self._pairs: dict[Pair, Flows] = {}
        self._copied: dict[FlowKey, Set] = {}
        """For each flow that sends copies: the TrafficControls that it does so for."""

        self._returns: Flows = {}
        self._stale: set[Uid] = set()
        self._flows: Flows = {}
        self._brought: collections.Counter[FlowKey] = collections.Counter()
        """How often each flow is needed: two Pods may claim the same address for a while."""

        self._before: dict[FlowKey, FlowBody | None] = {}

    # --------------------------------------------------------------------------------------------------------- inputs

    def put(self, program: TrafficProgram) -> None:
        """The program is in force from now on, as soon as its ports exist."""
        self._ways.put(program)
        self._units_of.setdefault(program.applied_to, set()).add(program.unit)
        self._touch(program.applied_to)

    def drop(self, group: GroupId, unit: Unit) -> None:
        """The program is not in force any more."""
        self._ways.drop(group, unit)
        self._touch(group)
        units = self._units_of.get(group, set())
        units.discard(unit)
        if not units:
            self._units_of.pop(group, None)

    def members_are(self, group: GroupId, members: Iterable[Member]) -> None:
        """The group has these members on this node."""
        before, now = self._members.pop(group, frozenset()), frozenset(member.uid for member in members)
        if now:
            self._members[group] = now
        for uid in before ^ now:
            groups = self._groups_of.setdefault(uid, set())
            (groups.add if uid in now else groups.discard)(group)
            if not groups:
                del self._groups_of[uid]
            if group in self._units_of:
                self._stale.add(uid)

    def open_port(self, port: LocalPort) -> None:
        self._ports[port.uid] = port
        self._stale.add(port.uid)

    def close_port(self, uid: Uid) -> None:
        if self._ports.pop(uid, None) is not None:
            self._stale.add(uid)

    def switch_has(self, found: Mapping[str, Found], refused: Mapping[str, str]) -> None:
        """The interfaces that exist, by name, and why some could not be created."""
        self._ways.switch_has(found, refused)

    def forget_unused(self) -> None:
        """Free the numbers of TrafficControls that were removed while the process was down, and of sets with such.

        Others are kept, since the ports of their Pods may not have been opened yet.
        """
        self._release(lambda unit: unit not in self._ways.groups)

    def _release(self, gone: Callable[[Unit], bool]) -> None:
        names = self._ids.traffic.state()
        self._ids.traffic.release([name for name in names if any(gone(unit) for unit in units_of(name))])

    # -------------------------------------------------------------------------------------------------------- answers

    @property
    def redirects(self) -> bool:
        """Whether a TrafficControl in force redirects."""
        return any(standing.way.redirects for standing in self._ways.standing.values())

    def wishes(self) -> dict[str, Wish]:
        """The ports that should exist, by name."""
        return self._ways.wishes()

    def drain(self) -> list[tuple[FlowKey, FlowBody | None]]:
        """The flows that changed since the last call; None: gone."""
        self._settle()
        before, self._before = self._before, {}
        return [(key, self._flows.get(key)) for key, old in before.items() if self._flows.get(key) != old]

    @property
    def flows(self) -> Flows:
        self._settle()
        return dict(self._flows)

    def counted(self) -> dict[Counter, tuple[Counted, ...]]:
        """What happened to packets, by the flows that count them: their table and the number in their cookies."""
        self._settle()
        found = {
            (key.table, _number(self._flows[key])): tuple(Counted(unit, "mirrored") for unit in units)
            for key, units in self._copied.items()
        }
        numbers = self._ids.traffic.state()
        for unit, standing in self._ways.standing.items():
            if standing.way.redirects and unit in numbers:
                there = standing.target is not None and standing.back is not None
                became = Counted(unit, "redirected" if there else "dropped")
                found[int(Table.REDIRECT), numbers[unit]] = (became,)
        return found

    def owners(self, number: int, key: FlowKey | None = None) -> tuple[TrafficProgram, ...]:
        """The programs that the flow with this number in its cookie belongs to; sorted.

        Without a number, these are all that select its Pod; if it takes packets back from a port, all that redirect.
        """
        self._settle()
        names = [
            name for name, one in self._ids.traffic.state().items() if one in (number, number & 0xFFFF, number >> 16)
        ]
        if key is not None and key in self._copied:
            units: Iterable[Unit] = self._copied[key]
        elif number:
            units = {unit for name in names for unit in units_of(name)}
        elif key in self._returns:
            units = [unit for unit, standing in self._ways.standing.items() if standing.back is not None]
        else:
            about = [uid for uid, held in self._pods.items() if key in held.flows]
            units = {program.unit for uid in about for program in self._programs_of(uid)}
        return tuple(self._ways.program(unit) for unit in sorted(units) if unit in self._ways.groups)

    def problems(self) -> tuple[Problem, ...]:
        """What is not in force as written, sorted."""
        self._settle()
        return tuple(sorted(problem for unit in self._ways.groups for problem in self._problems(unit)))

    def _problems(self, unit: Unit) -> Iterator[Problem]:
        program = self._ways.program(unit)
        gone = ""
        if program.action == "Redirect":
            fate = "goes on to its destination" if program.when_gone == "pass" else "is dropped"
            gone = f"; until then, traffic that it should redirect {fate}"
        for for_good, reason in self._ways.troubles(unit):
            yield Problem(unit=unit, state="failed" if for_good else "waiting", reason=f"{unit} {reason}{gone}")
        for lost, pods in self._lost.get(unit, {}).items():
            names = sorted(pods)
            more = f" and {len(names) - _MOST_PODS} more" if len(names) > _MOST_PODS else ""
            yield Problem(
                unit=unit,
                state="failed",
                reason=f"{unit}: no effect on what {', '.join(names[:_MOST_PODS])}{more} "
                f"{_SAID[lost.direction]}, which is redirected by {lost.to}: that was created earlier or, if at "
                "the same time, comes first by name; let one of them select other Pods",
            )

    # ------------------------------------------------------------------------------------------------------- settling

    def _touch(self, group: GroupId) -> None:
        self._stale |= self._members.get(group, frozenset())

    def _settle(self) -> None:
        changed = self._ways.drain()
        for unit in changed:
            for group in self._ways.groups.get(unit, ()):
                self._touch(group)
        stale, self._stale = self._stale, set()
        for uid in sorted(stale):
            self._bring(uid)
        self._copies.changed(changed)
        for pair, copying in self._copies.drain():
            old, new = self._pairs.pop(pair, {}), copying.flows if copying else {}
            if new:
                self._pairs[pair] = new
            self._exchange(old, new)
            for flow in old.keys() - new.keys():
                self._copied.pop(flow, None)
            self._copied |= dict.fromkeys(new, copying.units if copying else ())
        if changed:
            self._bring_returns()
            left = changed - self._ways.groups.keys()
            if left:
                self._release(left.__contains__)

    def _bring_returns(self) -> None:
        backs = {standing.back for standing in self._ways.standing.values()}
        old, self._returns = self._returns, return_flows(port for port in backs if port is not None)
        self._exchange(old, self._returns)

    def _bring(self, uid: Uid) -> None:
        """Bring what is done for the Pod up to date."""
        old, port = self._pods.pop(uid, None), self._ports.get(uid)
        new = self._of_pod(port, sorted(self._programs_of(uid), key=lambda one: one.order)) if port else None
        self._copies.use(Direction.EGRESS, new.sent if new else (), old.sent if old else ())
        self._copies.use(Direction.INGRESS, new.received if new else (), old.received if old else ())
        self._exchange(old.flows if old else {}, new.flows if new else {})
        for lost in old.lost if old else ():
            pods = self._lost[lost.unit][lost]
            pods.discard(old.pod if old else "")
            if not pods:
                del self._lost[lost.unit][lost]
                if not self._lost[lost.unit]:
                    del self._lost[lost.unit]
        if new is None:
            return
        for lost in new.lost:
            self._lost.setdefault(lost.unit, {}).setdefault(lost, set()).add(new.pod)
        self._pods[uid] = new

    def _programs_of(self, uid: Uid) -> Iterator[TrafficProgram]:
        """The programs in force that select the Pod."""
        units = {unit for group in self._groups_of.get(uid, ()) for unit in self._units_of.get(group, ())}
        return (self._ways.program(unit) for unit in units if unit in self._ways.standing)

    def _of_pod(self, port: LocalPort, programs: list[TrafficProgram]) -> _Pod | None:
        if not programs:
            return None
        copies: dict[Direction, Set] = {}
        redirects: dict[Direction, Redirect | None] = {}
        lost: list[Lost] = []
        for direction in Direction:
            here = [one.unit for one in programs if direction in one.directions]
            copies[direction] = tuple(sorted(unit for unit in here if not self._ways.standing[unit].way.redirects))
            redirecting = [unit for unit in here if self._ways.standing[unit].way.redirects]
            redirects[direction] = self._redirect(redirecting[0]) if redirecting else None
            lost += [Lost(unit, direction, redirecting[0]) for unit in redirecting[1:]]
        watched = Watched(
            sent=self._copies.number(Direction.EGRESS, copies[Direction.EGRESS]),
            received=self._copies.number(Direction.INGRESS, copies[Direction.INGRESS]),
            by_sender=redirects[Direction.EGRESS],
            by_receiver=redirects[Direction.INGRESS],
        )
        flows = pod_flows(port, port.addresses, watched)
        return _Pod(port.pod, copies[Direction.EGRESS], copies[Direction.INGRESS], tuple(lost), flows)

    def _redirect(self, unit: Unit) -> Redirect | None:
        standing, number = self._ways.standing[unit], self._ids.traffic[unit]
        if standing.target is not None and standing.back is not None:
            return Redirect(number, standing.target, standing.back)
        return None if standing.way.passes else Redirect(number, None, standing.back)

    # ---------------------------------------------------------------------------------------------------------- flows

    def _exchange(self, old: Flows, new: Flows) -> None:
        self._brought.update(new.keys())
        self._brought.subtract(old.keys())
        for key, body in new.items():
            self._set(key, body)
        for key in old:
            if self._brought[key] <= 0:
                del self._brought[key]
                self._set(key, None)

    def _set(self, key: FlowKey, body: FlowBody | None) -> None:
        old = self._flows.get(key)
        if old == body:
            return
        self._before.setdefault(key, old)
        if body is None:
            del self._flows[key]
        else:
            self._flows[key] = body


def _number(body: FlowBody) -> int:
    said = cookies.unpack(body.cookie)
    return said.number if said is not None else 0
