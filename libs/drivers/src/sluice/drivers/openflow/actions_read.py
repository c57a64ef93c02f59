"""Decoding of instructions and actions read back from a switch; the reverse of `actions`."""

from collections.abc import Callable, Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    Actions,
    AnyAction,
    Conjunction,
    Controller,
    Ct,
    DecTtl,
    Goto,
    Group,
    Learn,
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
from sluice.drivers.openflow import actions as numbers
from sluice.drivers.openflow.headers import NICIRA
from sluice.drivers.openflow.oxm import WIRE, Undecodable, decode_field

_EXPERIMENTER = Struct("!IH")
_COPY = Struct("!HHH2x4s4s")
_OUTPUT_REG = Struct("!H4sH6x")
_RESUBMIT = Struct("!HB3x")
_CONTROLLER = Struct("!HHB")
_CONTROLLER_SAYS = {numbers.MAX_LEN, numbers.CONTROLLER_ID, numbers.USERDATA, numbers.PAUSE, numbers.METER_ID}
_CONJUNCTION = Struct("!BBI")
_CT = Struct("!HIHB3xH")

_NAT_BEGINS = Struct("!HHIH").pack(numbers.EXPERIMENTER, 0, NICIRA, numbers.NX_NAT)

_LEARNT = {
    (number << 9 | size).to_bytes(4, "big"): field
    for number, size, field in (
        (3, 2, Field.ETH_TYPE),
        (6, 1, Field.IP_PROTO),
        (7, 4, Field.IPV4_SRC),
        (8, 4, Field.IPV4_DST),
        (10, 2, Field.TCP_DST),
        (12, 2, Field.UDP_DST),
    )
} | {
    (0x0001 << 16 | number << 9 | 16).to_bytes(4, "big"): field
    for number, field in ((19, Field.IPV6_SRC), (20, Field.IPV6_DST))
}
"""The older names that Open vSwitch uses for fields matched by learn. Source: meta-flow.h, "NXM:" of each field."""

_BARE = {wire.exact: field for field, wire in WIRE.items()}


def decode_instructions(octets: bytes) -> Actions:
    """The actions of a flow.

    Raises:
        Undecodable: it does something that our flows never do, or is truncated.
    """
    found: Actions = ()
    try:
        for kind, body in pieces(octets):
            if kind == numbers.APPLY_ACTIONS:
                found += decode_actions(body[4:])
            elif kind == numbers.GOTO_TABLE:
                found += (Goto(body[0]),)
            else:
                raise Undecodable(f"instruction {kind} is none of ours")
    except Undecodable:
        raise
    except (StructError, IndexError, KeyError, ValueError) as error:
        raise Undecodable(f"instructions {octets.hex()}: {error!r}") from error
    return found


def decode_actions(octets: bytes) -> Actions:
    return tuple([_action(kind, body) for kind, body in pieces(octets)])


def pieces(octets: bytes, *, aligned: bool = False) -> Iterator[tuple[int, bytes]]:
    """Type and body of each element of a list whose elements begin with type and length.

    Args:
        aligned: elements are padded to a multiple of eight octets, as properties are; the lengths of instructions and
            actions are such multiples already.
    """
    position = 0
    while position < len(octets):
        kind, length = numbers.PREFIX.unpack_from(octets, position)
        if length < numbers.PREFIX.size or position + length > len(octets):
            raise Undecodable(f"{octets[position:].hex()}: a length of {length} does not fit")
        yield kind, octets[position + numbers.PREFIX.size : position + length]
        position += length + (-length % 8 if aligned else 0)


def _action(kind: int, body: bytes) -> AnyAction:
    readers = _READERS
    if kind == numbers.EXPERIMENTER:
        experimenter, kind = _EXPERIMENTER.unpack_from(body)
        readers = _NX_READERS if experimenter == NICIRA else {}
        body = body[_EXPERIMENTER.size :]
    if kind not in readers:
        raise Undecodable(f"action {kind} with {body.hex()} is none of ours")
    return readers[kind](body)


def _output(body: bytes) -> Output:
    return Output(int.from_bytes(body[:4], "big"))


def _set_field(body: bytes) -> SetField:
    ((field, value, mask),) = decode_field(body[: 4 + body[3]])
    return SetField(field, value, mask)


def _copy_field(body: bytes) -> MoveField:
    bits, source_offset, target_offset, source, target = _COPY.unpack_from(body)
    return MoveField(_BARE[source], _BARE[target], bits, source_offset, target_offset)


def _output_reg(body: bytes) -> OutputField:
    bits, header, _ = _OUTPUT_REG.unpack(body)
    field: Field = _BARE[header]
    if bits != field.spec.bits - 1:
        raise Undecodable(f"output to {bits & 63} bits of {field.spec.name} from bit {bits >> 6} is none of ours")
    return OutputField(field)


def _push_vlan(body: bytes) -> PushVlan:
    if body[:2] != numbers.VLAN_TAG:
        raise Undecodable(f"push_vlan:0x{body[:2].hex()} is none of ours")
    return PushVlan()


def _resubmit(body: bytes) -> Resubmit:
    in_port, table = _RESUBMIT.unpack(body)
    if in_port != numbers.RESUBMIT_IN_PORT:
        raise Undecodable(f"resubmit({in_port},{table}) is none of ours")
    return Resubmit(table)


def _conjunction(body: bytes) -> Conjunction:
    clause, clauses, number = _CONJUNCTION.unpack(body)
    return Conjunction(number, clause + 1, clauses)


def _ct(body: bytes) -> Ct:
    flags, zone_source, zone, table, helper = _CT.unpack_from(body)
    if flags & ~numbers.CT_COMMIT or zone_source or helper:
        raise Undecodable(f"ct with {body.hex()} is none of ours")
    rest = body[_CT.size :]
    nat = None
    if rest[:10] == _NAT_BEGINS[:2] + rest[2:4] + _NAT_BEGINS[4:]:
        length = int.from_bytes(rest[2:4], "big")
        nat, rest = _nat(rest[10:length]), rest[length:]
    inner = decode_actions(rest)
    done = tuple([action for action in inner if isinstance(action, SetField | MoveField)])
    if len(done) < len(inner):
        raise Undecodable(f"ct(exec({inner})) is none of ours")
    return Ct(zone, bool(flags & numbers.CT_COMMIT), None if table == numbers.CT_NO_TABLE else table, done, nat)


def _nat(body: bytes) -> Nat:
    flags, present = numbers.NAT.unpack_from(body)
    ends = {number: end for end, number in numbers.NAT_ENDS.items()}
    if flags not in ends or present & ~(numbers.IPV4_MIN | numbers.IPV6_MIN | numbers.PROTO_MIN):
        raise Undecodable(f"nat with flags {flags} and ranges {present} is none of ours")
    at, version, address, port = numbers.NAT.size, 4, 0, None
    for bit, its_version, size in ((numbers.IPV4_MIN, 4, 4), (numbers.IPV6_MIN, 6, 16)):
        if present & bit:
            version, address, at = its_version, int.from_bytes(body[at : at + size], "big"), at + size
    if present & numbers.PROTO_MIN:
        port = int.from_bytes(body[at : at + 2], "big")
    return Nat("src" if ends[flags] == "src" else "dst" if ends[flags] == "dst" else "", version, address, port)


def _learn(body: bytes) -> Learn:
    idle_s, hard_s, priority, cookie, flags, table, fin_idle_s, fin_hard_s = numbers.LEARN.unpack_from(body)
    if hard_s or fin_idle_s or fin_hard_s or flags != numbers.DELETE_LEARNED:
        raise Undecodable(f"learn with {body[:22].hex()} is none of ours")
    exact: list[Term] = []
    same: list[Field] = []
    gives: list[Field] = []
    at = numbers.LEARN.size
    while at + 2 <= len(body) and (head := int.from_bytes(body[at : at + 2], "big")):
        at += 2
        bits = head & 0x3FF
        value: int | None = None
        source = b""
        if head & numbers.LEARN_VALUE:
            size = (bits + 15) // 16 * 2
            value, at = int.from_bytes(body[at : at + size], "big"), at + size
        else:
            source, at = body[at : at + 6], at + 6
        target, at = body[at : at + 6], at + 6
        field = _LEARNT.get(target[:4]) or _BARE[target[:4]]
        if target[4:] != bytes(2) or bits != field.spec.bits or (value is None and source != target):
            raise Undecodable(f"learn with {body.hex()} is none of ours")
        if value is not None and not head & numbers.LEARN_LOAD:
            exact.append(Term(field, value))
        elif value is None:
            (gives if head & numbers.LEARN_LOAD else same).append(field)
        else:
            raise Undecodable(f"learn with {body.hex()} is none of ours")
    return Learn(table, priority, idle_s, cookie, tuple(exact), tuple(same), tuple(gives))


def _controller(body: bytes) -> Controller:
    """The older action in which Open vSwitch reads back a Controller2 that uses none of its additional properties."""
    max_len, controller, reason = _CONTROLLER.unpack_from(body)
    if reason != numbers.REASON_ACTION:
        raise Undecodable(f"controller with reason {reason} is none of ours")
    return Controller(max_len=max_len, controller_id=controller)


def _controller2(body: bytes) -> Controller:
    said = dict(pieces(body[6:], aligned=True))
    if strange := said.keys() - _CONTROLLER_SAYS:
        raise Undecodable(f"controller with properties {sorted(strange)} is none of ours")
    meter, length = said.get(numbers.METER_ID), said.get(numbers.MAX_LEN)
    controller = said.get(numbers.CONTROLLER_ID, b"")
    return Controller(
        userdata=said.get(numbers.USERDATA, b""),
        pause=numbers.PAUSE in said,
        meter_id=None if meter is None else int.from_bytes(meter[:4], "big"),
        max_len=numbers.NO_BUFFER if length is None else int.from_bytes(length[:2], "big"),  # followed by padding
        controller_id=int.from_bytes(controller[:2], "big"),
    )


_Readers = dict[int, Callable[[bytes], AnyAction]]

_READERS: _Readers = {
    numbers.OUTPUT: _output,
    numbers.DEC_NW_TTL: lambda _: DecTtl(),
    numbers.PUSH_VLAN: _push_vlan,
    numbers.POP_VLAN: lambda _: PopVlan(),
    numbers.GROUP: lambda body: Group(int.from_bytes(body[:4], "big")),
    numbers.METER: lambda body: Meter(int.from_bytes(body[:4], "big")),
    numbers.SET_FIELD: _set_field,
    numbers.COPY_FIELD: _copy_field,
}

_NX_READERS: _Readers = {
    numbers.NX_RESUBMIT_TABLE: _resubmit,
    numbers.NX_OUTPUT_REG: _output_reg,
    numbers.NX_CONTROLLER: _controller,
    numbers.NX_CONJUNCTION: _conjunction,
    numbers.NX_CT: _ct,
    numbers.NX_LEARN: _learn,
    numbers.NX_CONTROLLER2: _controller2,
}
