"""Walks a packet through the filters of a hook by the kernel's rules: chains, preferences, connection tracking.

Its model of the kernel (net/sched/cls_api.c, cls_flower.c, act_ct.c; nf_conntrack), measured on Linux 6.1:

- the filters of a chain are tried by preference; `protocol` is that of the frame, VLAN while it has a tag;
- `goto` enters another chain and never returns; the end of a chain, even of an empty one, *passes*;
- act_ct looks the packet up in its zone, whatever another zone found before, and sets the state for later filters;
  without commit nothing is stored; with it, the bits of the mark in its mask are set;
- a connection is `est` once a reply was seen, and `new` until then; `rpl` is set from the first reply on;
- what cannot begin a connection (a SYN-ACK, an echo reply) and belongs to none is invalid; neighbour discovery is
  never tracked, which looks the same; ICMP errors about a known connection are related to it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

from sluice.dataplane.addresses import Block
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.filter import (
    Accept,
    Bits,
    Ct,
    CtState,
    Drop,
    FilterBody,
    FilterKey,
    Flower,
    Goto,
    Hook,
    Standing,
)

MAX_CHAINS = 16
"""Source: cls_api.c, max_reclassify_loop."""


class Frame(NamedTuple):
    """A packet on its way. Addresses are numbers; ports are transport ports, or type and code of ICMP."""

    eth_type: int
    source: int = 0
    destination: int = 0
    protocol: int = 0
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    tagged: bool = False
    begins: bool = True
    """Whether it can begin a connection: it is neither SYN-ACK nor echo reply."""

    about: "Frame | None" = None
    """For an ICMP error: the packet that caused it."""

    @property
    def version(self) -> int | None:
        return {EthType.IPV4: 4, EthType.IPV6: 6}.get(self.eth_type)

    @property
    def turned(self) -> "Frame":
        """The other end's answer."""
        kind = _ANSWERS.get(self.icmp_type, self.icmp_type)
        return self._replace(
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
            icmp_type=kind,
            begins=self.protocol == IpProto.UDP,
        )


_ANSWERS = {8: 0, 0: 8, 128: 129, 129: 128}
"""Echo types. Source: nf_conntrack_proto_icmp.c, invmap."""

Ends = tuple[int, int, int, int, int, int]


class Connection:
    def __init__(self, ends: Ends) -> None:
        self.ends = ends  # of the first packet
        self.replied = False
        self.mark = 0


class Seen(NamedTuple):
    """The result of connection tracking for a packet."""

    connection: Connection | None
    state: int


class Tracker:
    """The committed connections, by zone. Shared by all hooks of a node."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Ends], Connection] = {}

    def __len__(self) -> int:
        return len(set(self._known.values()))

    def forget(self) -> None:
        """Remove all connections."""
        self._known.clear()

    def unmark(self, zone: int, block: Block) -> None:
        """Like `conntrack.kernel.KernelTracker.unmark` for connections with an address of the block."""
        for (at, ends), connection in self._known.items():
            if at == zone and any(end & block.mask == block.value for end in (ends[2], ends[4])):
                connection.mark = 0

    def look(self, zone: int, frame: Frame) -> Seen:
        if frame.about is not None:
            inner = self._known.get((zone, _ends(frame.about)))
            if inner is None:
                return Seen(None, CtState.TRK | CtState.INV)
            reply = inner.ends == _ends(frame.about)  # the error goes back to the packet's sender
            return Seen(inner, CtState.TRK | CtState.REL | (CtState.RPL if reply else 0))
        if frame.protocol == IpProto.ICMPV6 and frame.icmp_type in range(130, 138):
            return Seen(None, CtState.TRK | CtState.INV)
        ends = _ends(frame)
        known = self._known.get((zone, ends))
        if known is None:
            return Seen(Connection(ends), CtState.TRK | CtState.NEW) if frame.begins else _INVALID
        if known.ends != ends:
            known.replied = True
            return Seen(known, CtState.TRK | CtState.EST | CtState.RPL)
        return Seen(known, CtState.TRK | (CtState.EST if known.replied else CtState.NEW))

    def commit(self, zone: int, connection: Connection, mark: Bits | None) -> None:
        ends = connection.ends
        self._known[zone, ends] = self._known[zone, _turn(ends)] = connection
        if mark is not None:
            connection.mark = connection.mark & ~mark.mask | mark.value


_INVALID = Seen(None, CtState.TRK | CtState.INV)
UNSEEN = Seen(None, 0)
"""For a packet that no hook has tracked yet."""


class Walk(NamedTuple):
    passed: bool
    path: tuple[FilterKey, ...]
    """The matching filters, in order."""

    seen: Seen
    """The tracking state that the packet takes to the next hook of the node."""


class Walker:
    """The filters of one hook. Keeps no state between packets except the tracker's connections."""

    def __init__(self, filters: Mapping[FilterKey, FilterBody | Standing], tracker: Tracker) -> None:
        self._tracker = tracker
        self._chains: dict[int, list[tuple[FilterKey, FilterBody]]] = {}
        for key, value in filters.items():
            body = value.body if isinstance(value, Standing) else value
            self._chains.setdefault(key.chain, []).append((key, body))
        for filters_ in self._chains.values():
            filters_.sort(key=lambda one: one[0].pref)
            _check_protocols(key for key, _ in filters_)

    def walk(self, frame: Frame, seen: Seen = UNSEEN) -> Walk:
        """What becomes of the packet, given the tracking state from an earlier hook.

        Raises AssertionError if the kernel's choice would depend on the order in which filters were added.
        """
        path: list[FilterKey] = []
        number = 0
        for _ in range(MAX_CHAINS):
            found = self._first(number, frame, seen)
            if found is None:
                return Walk(True, tuple(path), seen)
            path.append(found[0])
            target: int | None = None
            for action in found[1].actions:
                match action:
                    case Accept():
                        return Walk(True, tuple(path), seen)
                    case Drop():
                        return Walk(False, tuple(path), seen)
                    case Goto(chain):
                        target = chain
                    case Ct():
                        seen = self._track(action, frame, seen)
                    case _:
                        assert_never(action)
            if target is None:
                return Walk(True, tuple(path), seen)
            number = target
        return Walk(False, tuple(path), seen)

    def _track(self, action: Ct, frame: Frame, seen: Seen) -> Seen:
        assert frame.version is not None, "act_ct drops what is not IP"
        if action.clear:
            return UNSEEN
        zone = action.zone or 0
        if not action.commit:
            return self._tracker.look(zone, frame)
        if seen.connection is not None:
            self._tracker.commit(zone, seen.connection, action.mark)
        return seen

    def _first(self, number: int, frame: Frame, seen: Seen) -> tuple[FilterKey, FilterBody] | None:
        found: list[tuple[FilterKey, FilterBody]] = []
        for key, body in self._chains.get(number, ()):
            if found and key.pref != found[0][0].pref:
                break
            if _matches(key, frame, seen):
                found.append((key, body))
        assert len({body.actions for _, body in found}) <= 1, f"filters of one preference differ about {frame}: {found}"
        return found[0] if found else None


def _check_protocols(keys: Iterable[FilterKey]) -> None:
    of: dict[int, int] = {}
    for key in keys:
        assert of.setdefault(key.pref, key.protocol) == key.protocol, f"two protocols in {key.chain}, {key.pref}"


def _matches(key: FilterKey, frame: Frame, seen: Seen) -> bool:
    protocol = EthType.VLAN if frame.tagged else frame.eth_type
    return key.protocol in (EthType.ALL, protocol) and _flower(key.match, frame, seen)


def _flower(match: Flower, frame: Frame, seen: Seen) -> bool:
    if match.vlan_ethtype is not None and not (frame.tagged and match.vlan_ethtype == frame.eth_type):
        return False
    exact = ((match.ip_proto, frame.protocol), (match.icmp_type, frame.icmp_type), (match.icmp_code, frame.icmp_code))
    if any(wanted is not None and wanted != has for wanted, has in exact):
        return False
    blocks = ((match.source, frame.source), (match.destination, frame.destination))
    if any(block is not None and not _within(block, frame, value) for block, value in blocks):
        return False
    ports = ((match.source_port, frame.source_port), (match.destination_port, frame.destination_port))
    if any(range_ is not None and not range_.first <= port <= range_.last for range_, port in ports):
        return False
    mark = seen.connection.mark if seen.connection is not None else 0
    bits = ((match.ct_state, seen.state), (match.ct_mark, mark))
    return all(wanted is None or has & wanted.mask == wanted.value for wanted, has in bits)


def _within(block: Block, frame: Frame, value: int) -> bool:
    assert block.prefix, "a prefix of no bits matches no packet (see lower.address_filters)"
    return frame.version == block.version and value & block.mask == block.value


def _ends(frame: Frame) -> Ends:
    echo = frame.protocol in (IpProto.ICMP, IpProto.ICMPV6)
    ports = (0, frame.icmp_type) if echo else (frame.source_port, frame.destination_port)
    return frame.eth_type, frame.protocol, frame.source, ports[0], frame.destination, ports[1]


def _turn(ends: Ends) -> Ends:
    eth_type, protocol, source, source_port, destination, destination_port = ends
    if protocol in (IpProto.ICMP, IpProto.ICMPV6):
        return eth_type, protocol, destination, 0, source, _ANSWERS.get(destination_port, destination_port)
    return eth_type, protocol, destination, destination_port, source, source_port


class Device:
    """An interface with both hooks, seen from the host."""

    def __init__(self, filters: Mapping[Hook, Mapping[FilterKey, FilterBody | Standing]], tracker: Tracker) -> None:
        self._walkers = {hook: Walker(filters[hook], tracker) for hook in Hook}

    def sends(self, frame: Frame) -> bool:
        """Whether a frame from the workload gets through."""
        return self.out(frame).passed

    def receives(self, frame: Frame) -> bool:
        """Whether a frame to the workload gets through."""
        return self.into(frame).passed

    def out(self, frame: Frame) -> Walk:
        """What becomes of a packet that the workload sends."""
        return self._walkers[Hook.INGRESS].walk(frame)

    def into(self, frame: Frame, seen: Seen = UNSEEN) -> Walk:
        """What becomes of a packet that is sent to the workload, possibly by another one on the node."""
        return self._walkers[Hook.EGRESS].walk(frame, seen)
