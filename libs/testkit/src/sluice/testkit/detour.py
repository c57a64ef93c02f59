"""An inspection engine for the walker: it stands between two ports, gives back what it passes, and resets the rest.

As the real one it knows a connection by its tags and addresses, and its reset of a packet's sender has the packet's
MACs and ends swapped.
"""

from collections.abc import Callable
from typing import NamedTuple

from sluice.dataplane.ovs.detour import EnginePorts
from sluice.dataplane.ovs.fields import TCP_RST, Field
from sluice.testkit.tracker import Packet
from sluice.testkit.walker import Sent, Walk, Walker

PORTS = EnginePorts(into=200, out=201)

_SWAPPED = (
    (Field.ETH_SRC, Field.ETH_DST),
    (Field.IPV4_SRC, Field.IPV4_DST),
    (Field.IPV6_SRC, Field.IPV6_DST),
    (Field.TCP_SRC, Field.TCP_DST),
)
_ON_THE_WIRE = frozenset(
    (Field.ETH_TYPE, Field.IP_PROTO, Field.VLAN_VID, Field.TCP_FLAGS, *(field for pair in _SWAPPED for field in pair))
)


class Inspected(NamedTuple):
    """What became of a packet."""

    sent: tuple[Sent, ...]
    """What left by other ports than the engine's."""

    seen: tuple[Packet, ...]
    """What the engine saw of it, in order."""

    punted: tuple[bytes, ...]
    tags: tuple[int | None, ...]
    """Second tags of what the engine saw."""


def wire(sent: Sent) -> dict[Field, int]:
    """What of a packet the other end of a port sees."""
    return {field: value for field, value in sent.packet.items() if field in _ON_THE_WIRE}


def inspected(walker: Walker, packet: Packet, passes: Callable[[Packet], bool] = lambda _: True) -> Inspected:
    """Where the packet and what the engine makes of it get to in the end."""
    sent: list[Sent] = []
    seen: list[Packet] = []
    punted: list[bytes] = []
    tags: list[int | None] = []
    waiting = [dict(packet)]
    while waiting:
        walk: Walk = walker.walk(waiting.pop(0))
        punted += walk.punted
        for one in walk.sent:
            if one.port != PORTS.into:
                sent.append(one)
                continue
            frame = wire(one)
            seen.append(frame)
            tags.append(None if one.under_tag is None else one.under_tag & 0xFFF)
            assert len(seen) < 10, f"it goes round: {seen[-2:]}"
            returns = (frame,) if passes(frame) else resets(frame)
            waiting += [{**back, Field.IN_PORT: PORTS.out} for back in returns]
    return Inspected(tuple(sent), tuple(seen), tuple(punted), tuple(tags))


def resets(frame: Packet) -> tuple[dict[Field, int], ...]:
    """What the engine makes of a packet that it rejects: a reset for its sender, then one for its receiver."""
    back = dict(frame)
    for one, other in _SWAPPED:
        if one in frame:
            back[one], back[other] = frame[other], frame[one]
    return {**back, Field.TCP_FLAGS: TCP_RST}, {**frame, Field.TCP_FLAGS: TCP_RST}
