"""A fake inspection engine for the walker, between two ports: it returns what it passes and resets the rest.

Like the real one, it identifies a connection by its tags and addresses; its reset to a packet's sender has the packet's
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
    """The fields of a packet that are visible at the other end of a port."""
    return {field: value for field, value in sent.packet.items() if field in _ON_THE_WIRE}


def inspected(walker: Walker, packet: Packet, passes: Callable[[Packet], bool] = lambda _: True) -> Inspected:
    """The final fate of the packet and of what the engine sends for it."""
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
    """The engine's output for a rejected packet: a reset to its sender, then one to its receiver."""
    back = dict(frame)
    for one, other in _SWAPPED:
        if one in frame:
            back[one], back[other] = frame[other], frame[one]
    return {**back, Field.TCP_FLAGS: TCP_RST}, {**frame, Field.TCP_FLAGS: TCP_RST}
