"""Which frames a scenario expects at a receiver, and whether they arrived."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sluice.contracts.ids import Address
from sluice.dataplane.frame import Frame
from sluice.dataplane.protocols import IpProto
from sluice.lab.capture.tunnels import DEFAULT_PORTS, Proto, Seen, Tunnel, text
from sluice.lab.receiving import Receiver

PROTOCOLS = {
    "TCP": (IpProto.TCP,),
    "UDP": (IpProto.UDP,),
    "SCTP": (IpProto.SCTP,),
    "ICMP": (IpProto.ICMP, IpProto.ICMPV6),
}
_NAMES = {number: name for name, numbers in PROTOCOLS.items() for number in numbers}

TOLD = 6
"""Most kinds of frames that a message lists."""


class Ends(NamedTuple):
    """Sender and destination of the inner packet; None means any."""

    source: frozenset[Address] | None = None
    target: frozenset[Address] | None = None


def udp_ports(receivers: Iterable[Receiver]) -> dict[int, Proto]:
    """UDP ports on which tunnels end: the registered ones, and those that receivers ask for."""
    found: dict[int, Proto] = dict(DEFAULT_PORTS)
    for each in receivers:
        match each:
            case Receiver(destination_port=int(port), proto="geneve" | "vxlan" as proto):
                found[port] = proto
    return found


def matches(wanted: Receiver, ends: Ends, seen: Seen) -> bool:
    """Whether the frame counts for this receiver."""
    return _outer(wanted, seen.tunnel) and _inner(wanted, ends, seen.inner)


def _outer(wanted: Receiver, tunnel: Tunnel | None) -> bool:
    if wanted.proto is None:
        return True
    if tunnel is None:
        return wanted.proto == "none"
    if wanted.proto != tunnel.proto:
        return False
    asked = (
        (wanted.destination_port, tunnel.port),
        (wanted.vni, tunnel.vni),
        (wanted.key, "none" if tunnel.key is None else tunnel.key),
        (wanted.version, tunnel.version),
        (wanted.session_id, tunnel.session),
        (wanted.index, tunnel.number),
        (wanted.dir, tunnel.direction),
        (wanted.hardware_id, tunnel.hardware),
    )
    return all(want is None or want == got for want, got in asked)


def _inner(wanted: Receiver, ends: Ends, packet: Frame | None) -> bool:
    anything = wanted.protocol is None and wanted.family is None and ends == Ends()
    if packet is None:
        return anything
    if wanted.family is not None and wanted.family != f"IPv{packet.version}":
        return False
    if wanted.protocol is not None and packet.proto not in PROTOCOLS[wanted.protocol]:
        return False
    if ends.source is not None and text(packet.source) not in ends.source:
        return False
    if ends.target is not None and text(packet.target) not in ends.target:
        return False
    source, target = packet.ports or (None, None)
    return wanted.port in (None, target) and wanted.source_port in (None, source)


class Count(NamedTuple):
    """The result of one expectation."""

    wanted: Receiver
    got: int
    problem: str = ""
    """Why nothing can arrive."""

    @property
    def short(self) -> bool:
        """Whether frames are still missing."""
        return self.got < self.least and not self.problem

    @property
    def ok(self) -> bool:
        if self.problem and self.least:
            return False
        return self.got == self.wanted.packets if self.wanted.packets is not None else not self.short

    @property
    def least(self) -> int:
        return self.wanted.at_least if self.wanted.packets is None else self.wanted.packets

    def expect(self) -> str:
        """The expected number, in words."""
        return _packets(self.least) if self.wanted.packets is not None else f"{_packets(self.least)} or more"

    def words(self) -> str:
        return self.problem or _packets(self.got)


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count} packets"


def title(wanted: Receiver) -> str:
    """The expectation in words, without its ends, which are shown beside it."""
    fields = (
        ("destinationPort", wanted.destination_port),
        ("vni", wanted.vni),
        ("key", wanted.key),
        ("version", wanted.version),
        ("sessionID", wanted.session_id),
        ("index", wanted.index),
        ("dir", wanted.dir),
        ("hardwareID", wanted.hardware_id),
    )
    words = [f"{'into' if wanted.into else 'on'} {wanted.on}:", wanted.proto or ""]
    words += [f"{name} {value}" for name, value in fields if value is not None]
    words += [wanted.protocol or "", f"from port {wanted.source_port}" if wanted.source_port else ""]
    words += [str(wanted.port or ""), wanted.family or ""]
    return " ".join(word for word in words if word)


def summary(frames: Sequence[Seen], names: Mapping[Address, str]) -> str:
    """What arrived instead, most frequent first."""
    kinds = Counter(_kind(seen, names) for seen in frames)
    listed = [f"{count} x {kind}" for kind, count in kinds.most_common(TOLD)]
    more = len(kinds) - len(listed)
    return "; ".join(listed + ([f"and {more} other kinds"] if more else [])) or "nothing"


def _kind(seen: Seen, names: Mapping[Address, str]) -> str:
    words: list[str] = []
    if tunnel := seen.tunnel:
        words = [tunnel.proto, tunnel.source, "->", tunnel.target]
        words += [f"{name} {value}" for name, value in list(tunnel._asdict().items())[3:] if value is not None]
        words.append("with")
    packet = seen.inner
    if packet is None:
        return " ".join([*words, "no IP packet"])
    source, target = (names.get(text(end), text(end)) for end in (packet.source, packet.target))
    ports = f" to port {packet.ports[1]}" if packet.ports else ""
    return " ".join([*words, f"{source} -> {target} {_NAMES.get(packet.proto, f'protocol {packet.proto}')}{ports}"])
