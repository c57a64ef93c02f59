"""Flows as text, in the notation of ovs-ofctl(8).

`ovs-ofctl add-flows` accepts it, and its order and form are those of `ovs-ofctl dump-flows --no-stats --no-names`, so
the two can be compared. `parse` reads both.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import assert_never

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    AnyAction,
    Buckets,
    Conjunction,
    Controller,
    Ct,
    DecTtl,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Group,
    Groups,
    Learn,
    Match,
    Meter,
    MoveField,
    Nat,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    Term,
)
from sluice.dataplane.ovs.notation import (
    BITS,
    DECIMAL,
    IN_ACTIONS,
    IPV4,
    IPV6,
    LEARNT,
    MACS,
    NXM,
    ORDER,
    RESERVED_PORTS,
    SHARED_NAME,
    SHORT,
    VID_BITS,
)


def write(key: FlowKey, body: FlowBody) -> str:
    """The flow on one line."""
    said = ",".join([f"priority={key.priority}", *_words(key.match)])
    actions = ",".join(map(_action, body.actions)) or "drop"
    where = f"table={key.table:d}, " if key.table else ""  # as in dumps
    return f"cookie={body.cookie:#x}, {where}{said} actions={actions}"


def write_match(a_match: Match) -> str:
    """The match as text."""
    return ",".join(_words(a_match))


def write_packet(fields: Mapping[Field, int]) -> str:
    """The packet as ofproto/trace takes it, with each field under its own name."""
    ordered = sorted(fields.items(), key=lambda entry: ORDER[entry[0]])
    return ",".join(f"{field.spec.name}={_value(field, number, None)}" for field, number in ordered)


def write_all(flows: Flows) -> str:
    """All flows, one per line, in the order of `lines`."""
    return "".join(f"{line}\n" for line in lines(flows))


def lines(flows: Flows) -> Iterator[str]:
    """All flows: by table, then highest priority first, then by text. Holds the lines of one priority at a time."""
    layers: dict[tuple[int, int], list[FlowKey]] = {}
    for key in flows:
        layers.setdefault((key.table, -key.priority), []).append(key)
    for place in sorted(layers):
        yield from sorted([write(key, flows[key]) for key in layers[place]])


def write_groups(groups: Groups) -> str:
    """All groups, one per line, as `ovs-ofctl add-groups` takes them."""
    return "".join(f"{_group(number, groups[number])}\n" for number in sorted(groups))


def _group(number: int, buckets: Buckets) -> str:
    ways = (
        f"bucket=bucket_id:{place},weight:1,actions={','.join(map(_action, actions))}"
        for place, actions in enumerate(buckets)
    )
    return ",".join((f"group_id={number}", "type=select", *ways))


def _words(a_match: Match) -> Iterator[str]:
    said = {term.field: term for term in a_match}
    exact = {term.field: term.value for term in a_match if term.mask is None}
    eth_type, proto = exact.get(Field.ETH_TYPE), exact.get(Field.IP_PROTO)
    short = SHORT.get((eth_type, proto)) if eth_type is not None else None
    for term in sorted(said.values(), key=lambda term: ORDER[term.field]):
        match term.field:
            case Field.ETH_TYPE:
                yield short or SHORT.get((term.value, None)) or f"dl_type={term.value:#06x}"
            case Field.IP_PROTO if short:
                pass
            case Field.CT_STATE | Field.TCP_FLAGS:
                yield f"{term.field.spec.name}={_bits(term)}"
            case _:
                name = SHARED_NAME.get(term.field, term.field.spec.name)
                yield f"{name}={_value(term.field, term.value, term.mask)}"


def _bits(term: Term) -> str:
    mask = term.value if term.mask is None else term.mask
    flags = ((name, bit) for name, bit in BITS[term.field].items() if mask & bit)
    return "".join(f"{'+' if term.value & bit else '-'}{name}" for name, bit in flags)


def _value(field: Field, value: int, mask: int | None) -> str:
    bits = field.spec.bits
    if field in MACS:
        return _mac(value) if mask is None else f"{_mac(value)}/{_mac(mask)}"
    if field in IPV4 or field in IPV6:
        address = IPv4Address if field in IPV4 else IPv6Address
        if mask is None:
            return str(address(value))
        length = mask.bit_count()
        prefix = mask == (1 << bits) - (1 << (bits - length))
        return f"{address(value)}/{length if prefix else address(mask)}"
    if mask is not None:
        return f"{hex(value) if value else 0}/{mask:#x}"  # 0 has no prefix, as with C's %#x
    return str(value) if field in DECIMAL else hex(value)


def _mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


_DECIMAL_IN_ACTIONS = frozenset((Field.ARP_OP, Field.VLAN_VID))
"""DECIMAL fields that are decimal in set_field as well; the others are hexadecimal there."""


def _action(action: AnyAction) -> str:
    match action:
        case Output(port):
            return RESERVED_PORTS.get(port) or f"output:{port}"
        case OutputField(field):
            return f"output:{_nxm(field)}[]"
        case SetField(field, value, mask):
            text = (
                f"{value:#x}" if mask is None and field in DECIMAL - _DECIMAL_IN_ACTIONS else _value(field, value, mask)
            )
            return f"set_field:{text}->{IN_ACTIONS.get(field, field.spec.name)}"
        case MoveField(source, target, bits, source_offset, target_offset):
            from_, to = _part(source, source_offset, bits), _part(target, target_offset, bits)
            return f"move:{from_}->{to}"
        case DecTtl():
            return "dec_ttl"
        case PushVlan():
            return "push_vlan:0x8100"
        case PopVlan():
            return "pop_vlan"
        case Conjunction(id, place, count):
            return f"conjunction({id},{place}/{count})"
        case Ct(zone, commit, table, exec_, nat):
            words = ["commit"] if commit else []
            words += [f"table={table:d}"] if table is not None else []
            words += [f"zone={zone}"]
            words += [_nat(nat)] if nat is not None else []
            words += [f"exec({','.join(map(_action, exec_))})"] if exec_ else []
            return f"ct({','.join(words)})"
        case Resubmit(table):
            return f"resubmit(,{table:d})"
        case Goto(table):
            return f"goto_table:{table:d}"
        case Group(number):
            return f"group:{number}"
        case Meter(number):
            return f"meter:{number}"
        case Learn():
            return f"learn({','.join(_learnt(action))})"
        case Controller(userdata, pause, meter_id, max_len, controller_id):
            words = [f"id={controller_id}"] if controller_id else []
            words += [f"userdata={userdata.hex('.')}"] if userdata else []
            words += [f"max_len={max_len}"] if max_len != 0xFFFF else []
            words += ["pause"] if pause else []
            words += [f"meter_id={meter_id}"] if meter_id is not None else []
            return f"controller({','.join(words)})"
        case _:
            assert_never(action)


def _nat(nat: Nat) -> str:
    if not nat.end:
        return "nat"
    to = str(IPv4Address(nat.address)) if nat.version == 4 else str(IPv6Address(nat.address))
    if nat.port is not None:
        to = f"{to if nat.version == 4 else f'[{to}]'}:{nat.port}"
    return f"nat({nat.end}={to})"


def _learnt(learn: Learn) -> Iterator[str]:
    yield f"table={learn.table:d}"
    yield f"idle_timeout={learn.idle_timeout_s}"
    yield f"priority={learn.priority}"
    yield "delete_learned"
    yield f"cookie={learn.cookie:#x}"
    for field, value, _ in learn.exact:
        yield (
            f"{LEARNT.get(field, field.spec.name)}={value:#x}"
            if field is Field.ETH_TYPE
            else (f"{LEARNT.get(field, field.spec.name)}={_value(field, value, None)}")
        )
    yield from (f"{_nxm(field)}[]" for field in learn.same)
    yield from (f"load:{_nxm(field)}[]->{_nxm(field)}[]" for field in learn.gives)


def _nxm(field: Field) -> str:
    return NXM.get(field, field.spec.name)


def _part(field: Field, offset: int, bits: int) -> str:
    if bits == (VID_BITS if field is Field.VLAN_VID else field.spec.bits):
        return f"{_nxm(field)}[]"
    return f"{_nxm(field)}[{offset}]" if bits == 1 else f"{_nxm(field)}[{offset}..{offset + bits - 1}]"
