"""The effect of a change of objects on programs, on reachability, and on recorded connections."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple

from msgspec.structs import replace

from sluice.contracts.audit import FlowDecision
from sluice.contracts.ids import NEVER, GroupId, Uid, Unit
from sluice.contracts.programs import Program
from sluice.grouping.selectors import GroupSelector
from sluice.policy.connectivity import PROTOCOLS, Allowed, Pair, connectivity
from sluice.policy.ends import NoSuchEnd
from sluice.policy.intervals import Ports, without
from sluice.policy.packet import AddressEnd, Packet
from sluice.policy.state import ClusterState
from sluice.policy.touched import touched
from sluice.policy.verdict import Outcome, Verdict, verdict

Way = Literal["added", "removed", "changed"]


class ProgramChange(NamedTuple):
    """The change to one program, which is what nodes hold for one policy and one group."""

    unit: Unit
    group: GroupId
    way: Way
    before: Program | None
    after: Program | None


class ReachChange(NamedTuple):
    """The ports opened and closed between two ends, for one protocol."""

    source: str
    destination: str
    protocol: str
    opened: Ports
    closed: Ports


class Connection(NamedTuple):
    """A connection that was recorded, and how often."""

    packet: Packet
    times: int


class VerdictChange(NamedTuple):
    """A recorded connection whose outcome would change."""

    connection: Connection
    before: Verdict | None
    """None: an end does not exist."""

    after: Verdict | None


def programs(before: ClusterState, after: ClusterState) -> list[ProgramChange]:
    """The programs that differ, by policy and group. The group members behind an unchanged program may differ, too."""
    old, new = before.compiler.programs, after.compiler.programs
    found = []
    for group, unit in sorted(old.keys() | new.keys(), key=lambda one: (one[1], one[0])):
        was, now = old.get((group, unit)), new.get((group, unit))
        if _content(was) != _content(now):
            way: Way = "added" if was is None else "removed" if now is None else "changed"
            found.append(ProgramChange(unit, group, way, was, now))
    return found


def groups(before: ClusterState, after: ClusterState) -> Mapping[GroupId, tuple[Way, GroupSelector]]:
    """The groups that appear or disappear; a group that changes is a different group."""
    old, new = before.selectors, after.selectors
    gone: dict[GroupId, tuple[Way, GroupSelector]] = {one: ("removed", old[one]) for one in old.keys() - new.keys()}
    come: dict[GroupId, tuple[Way, GroupSelector]] = {one: ("added", new[one]) for one in new.keys() - old.keys()}
    return dict(sorted((gone | come).items()))


def concerned(before: ClusterState, after: ClusterState) -> frozenset[tuple[str, str]]:
    """The keys of all Pods for which something else may be decided, those that come or go included."""
    changed = frozenset(one.group for one in programs(before, after))
    return frozenset(touched(before, after, changed))


def reach(before: ClusterState, after: ClusterState, pods: AbstractSet[tuple[str, str]]) -> Iterator[ReachChange]:
    """The changes in who can reach whom. Takes time proportional to the number of pairs with one of these Pods.

    An end that exists on one side only has no reachability on the other.

    Args:
        pods: all that are `concerned`.
    """
    old = {(pair.source, pair.destination): pair.allowed for pair in connectivity(before, pods)}
    found: list[tuple[Pair, Allowed]] = []
    for pair in connectivity(after, pods):
        was = old.pop((pair.source, pair.destination), _NOTHING)
        if was != pair.allowed:
            found.append((pair, was))
    found += [(Pair(*ends, _NOTHING), was) for ends, was in old.items() if was != _NOTHING]
    for (source, destination, allowed), was in sorted(found):
        for protocol, then, since in zip(PROTOCOLS, was, allowed, strict=True):
            if then != since:
                yield ReachChange(source, destination, protocol, without(since, then), without(then, since))


def recorded(events: Iterable[FlowDecision]) -> list[Connection]:
    """The connections recorded in a log, equal ones merged; the most frequent first."""
    times: dict[Packet, int] = {}
    for event in events:
        if (packet := _packet(event)) is not None:
            times[packet] = times.get(packet, 0) + event.packets
    return [Connection(packet, times[packet]) for packet in sorted(times, key=lambda one: (-times[one], str(one)))]


def verdicts(before: ClusterState, after: ClusterState, connections: Iterable[Connection]) -> Iterator[VerdictChange]:
    """The recorded connections whose outcome would change."""
    for connection in connections:
        was, now = _verdict(before, connection.packet), _verdict(after, connection.packet)
        if _outcome(was) != _outcome(now):
            yield VerdictChange(connection, was, now)


_NOTHING: Allowed = ((),) * len(PROTOCOLS)


def _content(program: Program | None) -> Program | None:
    """The program without its cause and its object's uid."""
    return replace(program, cause=NEVER, origin=replace(program.origin, uid=Uid(""))) if program else None


def _packet(event: FlowDecision) -> Packet | None:
    """The first packet of the connection; None if the log does not say enough to compute its verdict."""
    source, destination = AddressEnd(event.source), AddressEnd(event.destination)
    match event.protocol:
        case "TCP" | "UDP" | "SCTP":
            return Packet(
                source=source,
                destination=destination,
                protocol=event.protocol,
                port=event.destination_port,
                source_port=event.source_port,
            )
        case "ICMP" | "ICMPv6" | "IPv6-ICMP":
            return Packet(source=source, destination=destination, protocol="ICMP")
        case _:
            return None


def _verdict(state: ClusterState, packet: Packet) -> Verdict | None:
    try:
        return verdict(state, packet)
    except NoSuchEnd:
        return None


def _outcome(given: Verdict | None) -> Outcome | None:
    return given.outcome if given else None
