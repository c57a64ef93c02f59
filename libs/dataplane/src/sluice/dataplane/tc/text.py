"""Filters and operations as commands of tc(8): a person can run them; `tc -b` accepts them without the first word.

tc(8) can express everything that we use: a cookie is `cookie HEX` after an action. A `Settle` is `sleep`, so a whole
plan is a shell script.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import assert_never

from sluice.contracts.programs import PortRange
from sluice.dataplane.addresses import WIDTH, Block
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.filter import (
    Accept,
    AnyAction,
    Bits,
    Ct,
    CtState,
    Drop,
    FilterBody,
    FilterKey,
    Filters,
    Flower,
    Goto,
    Hook,
)
from sluice.dataplane.tc.operations import (
    SETTLE_S,
    AddFilter,
    DeleteChain,
    DeleteFilter,
    Operation,
    ReplaceFilter,
    Settle,
)

PROTOCOLS = {
    EthType.ALL: "all",
    EthType.IPV4: "ip",
    EthType.ARP: "arp",
    EthType.VLAN: "802.1Q",
    EthType.IPV6: "ipv6",
}
IP_PROTOS = {
    IpProto.ICMP: "icmp",
    IpProto.TCP: "tcp",
    IpProto.UDP: "udp",
    IpProto.ICMPV6: "icmpv6",
    IpProto.SCTP: "sctp",
}
STATES = {
    "trk": CtState.TRK,
    "new": CtState.NEW,
    "est": CtState.EST,
    "rel": CtState.REL,
    "inv": CtState.INV,
    "rpl": CtState.RPL,
}


def clsact(device: str) -> str:
    """The command that creates the hooks; it fails if they exist."""
    return f"tc qdisc add dev {device} clsact"


def write(key: FilterKey, body: FilterBody, handle: int | None = None) -> str:
    """The filter's arguments, from `protocol` on: what `tc filter add dev DEV HOOK` takes."""
    return " ".join([*_place(key, handle), *_flower(key.match), *_actions(body)])


def command(device: str, hook: Hook, operation: Operation) -> str:
    """The operation as one line of shell."""
    where = f"dev {device} {hook}"
    match operation:
        case AddFilter(key, handle, body):
            return f"tc filter add {where} {write(key, body, handle)}"
        case ReplaceFilter(key, handle, body):
            return f"tc filter replace {where} {write(key, body, handle)}"
        case DeleteFilter(key, handle):
            return f"tc filter del {where} {' '.join(_place(key, handle))}"
        case DeleteChain(chain):
            return f"tc filter del {where} chain {chain}"
        case Settle():
            return f"sleep {SETTLE_S}"
        case _:
            assert_never(operation)


def script(device: str, hook: Hook, plan: Iterable[Operation]) -> str:
    """The operations, one per line."""
    return "".join(f"{command(device, hook, operation)}\n" for operation in plan)


def write_all(filters: Filters) -> str:
    """All filters, one per line, in the order in which the kernel evaluates them, chain by chain."""
    lines = sorted((key.chain, key.pref, write(key, body)) for key, body in filters.items())
    return "".join(f"{line}\n" for _, _, line in lines)


def _place(key: FilterKey, handle: int | None) -> Iterator[str]:
    yield f"protocol {PROTOCOLS.get(key.protocol) or hex(key.protocol)}"
    yield f"pref {key.pref}"
    if key.chain:
        yield f"chain {key.chain}"
    if handle is not None:
        yield f"handle {handle:#x}"
    yield "flower"


def _flower(match: Flower) -> Iterator[str]:
    if match.vlan_ethtype is not None:
        yield f"vlan_ethtype {PROTOCOLS.get(match.vlan_ethtype) or hex(match.vlan_ethtype)}"
    if match.ip_proto is not None:
        yield f"ip_proto {IP_PROTOS.get(match.ip_proto) or hex(match.ip_proto)}"
    for name, block in (("src_ip", match.source), ("dst_ip", match.destination)):
        if block is not None:
            yield f"{name} {_block(block)}"
    for name, ports in (("src_port", match.source_port), ("dst_port", match.destination_port)):
        if ports is not None:
            yield f"{name} {_ports(ports)}"
    for name, number in (("type", match.icmp_type), ("code", match.icmp_code)):
        if number is not None:
            yield f"{name} {number}"
    if match.ct_state is not None:
        yield f"ct_state {_states(match.ct_state)}"
    if match.ct_zone is not None:
        yield f"ct_zone {_bits(match.ct_zone, 16)}"
    if match.ct_mark is not None:
        yield f"ct_mark {_bits(match.ct_mark, 32)}"
    if match.ct_label is not None:
        yield f"ct_label {match.ct_label.value:032x}/{match.ct_label.mask:032x}"


def _actions(body: FilterBody) -> Iterator[str]:
    for action in body.actions:
        yield f"action {_action(action)} cookie {body.cookie.hex()}"


def _action(action: AnyAction) -> str:
    match action:
        case Accept():
            return "gact pass"
        case Drop():
            return "gact drop"
        case Goto(chain):
            return f"gact goto chain {chain}"
        case Ct():
            return " ".join(("ct", *_ct(action), "pipe"))
        case _:
            assert_never(action)


def _ct(action: Ct) -> Iterator[str]:
    if action.clear:
        yield "clear"
        return
    if action.commit:
        yield "commit"
    if action.force:
        yield "force"
    if action.zone is not None:
        yield f"zone {action.zone}"
    if action.mark is not None:
        yield f"mark {_bits(action.mark, 32)}"
    if action.label is not None:
        yield f"label {action.label.value:032x}/{action.label.mask:032x}"


def _block(block: Block) -> str:
    address = IPv4Address(block.value) if block.version == 4 else IPv6Address(block.value)
    return str(address) if block.prefix == WIDTH[block.version] else f"{address}/{block.prefix}"


def _ports(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _states(bits: Bits) -> str:
    return "".join(f"{'+' if bits.value & bit else '-'}{name}" for name, bit in STATES.items() if bits.mask & bit)


def _bits(bits: Bits, width: int) -> str:
    return hex(bits.value) if bits.mask == (1 << width) - 1 else f"{bits.value:#x}/{bits.mask:#x}"
