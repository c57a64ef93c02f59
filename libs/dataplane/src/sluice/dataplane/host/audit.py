"""The format of np.host.log: the lines of rules about Nodes."""

from struct import Struct

from sluice.contracts.audit import Decision
from sluice.contracts.ids import NodeName
from sluice.contracts.programs import K8S_TIER, Action, Direction
from sluice.dataplane.audit.attribution import Deciding, Toward
from sluice.dataplane.audit.seeing import Seen, see
from sluice.dataplane.frame import ETHERNET, read
from sluice.dataplane.host.engine import Placed
from sluice.dataplane.protocols import EthType
from sluice.policy.listing import SOURCES

_TOWARD: dict[Direction, Toward] = {Direction.INGRESS: "Ingress", Direction.EGRESS: "Egress"}
_DECISIONS: dict[Action, Decision] = {
    Action.ALLOW: "Allow",
    Action.DROP: "Drop",
    Action.REJECT: "Reject",
    Action.PASS: "Pass",
}
_LENGTH = Struct("!H")
_IPV6 = 40
"""Size of the header, which the length field does not include. Source: RFC 8200 section 3."""


def deciding(id: str, placed: Placed) -> Deciding:
    """What the rule's lines show of it."""
    program, rule = placed
    toward = _TOWARD[rule.direction]
    return Deciding(
        id=int(id[1:], 16),
        table=f"AntreaPolicy{toward}Rule" if program.tier < K8S_TIER else f"{toward}DefaultRule",
        policy=f"{SOURCES[program.origin.kind]}:{program.origin.name}",
        rule=rule.name,
        direction=toward,
        action=_DECISIONS[rule.action],
        label=rule.log_label,
        unit=program.unit,
        index=rule.index,
        revision=program.cause,
    )


def seen(rule: Deciding, node: NodeName, packet: bytes) -> Seen | None:
    """The logged properties of a packet, which may be cut off after its headers; None if it is not IP."""
    version = packet[0] >> 4 if packet else 0
    kind = {4: EthType.IPV4, 6: EthType.IPV6}.get(version)
    if kind is None:
        return None
    at, before = (2, 0) if version == 4 else (4, _IPV6)
    if len(packet) < at + _LENGTH.size:
        return None
    length = _LENGTH.unpack_from(packet, at)[0] + before
    said = packet[:at] + _LENGTH.pack(max(0, min(length, len(packet)) - before)) + packet[at + _LENGTH.size :]
    frame = read(ETHERNET.pack(bytes(6), bytes(6), kind) + said)
    return see(rule.id, node, frame)._replace(length=length) if frame is not None else None
