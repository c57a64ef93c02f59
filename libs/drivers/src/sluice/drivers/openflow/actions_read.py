"""Instructions and actions as they are read back from a switch; `actions` is the way there."""

from collections.abc import Callable, Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    Actions,
    AnyAction,
    Conjunction,
    Controller,
    Ct,
    DecTtl,
    Goto,
    MoveField,
    Output,
    OutputField,
    Resubmit,
    SetField,
)
from sluice.drivers.openflow import actions as numbers
from sluice.drivers.openflow.headers import NICIRA
from sluice.drivers.openflow.oxm import WIRE, Undecodable, decode_field

_EXPERIMENTER = Struct("!IH")
_COPY = Struct("!HHH2x4s4s")
_OUTPUT_REG = Struct("!H4sH6x")
_RESUBMIT = Struct("!HB3x")
_CONTROLLER = Struct("!HHB")
_CONJUNCTION = Struct("!BBI")
_CT = Struct("!HIHB3xH")

_BARE = {wire.exact: field for field, wire in WIRE.items()}


def decode_instructions(octets: bytes) -> Actions:
    """The actions of a flow.

    Raises:
        Undecodable: it does something that we never ask for, or is cut short.
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
    """Type and body of each of a list of things that begin with type and length.

    Args:
        aligned: what follows a thing begins at the next multiple of eight octets, as properties do; the lengths of
            instructions and actions are such multiples themselves.
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
    inner = decode_actions(body[_CT.size :])
    done = tuple([action for action in inner if isinstance(action, SetField | MoveField)])
    if len(done) < len(inner):
        raise Undecodable(f"ct(exec({inner})) is none of ours")
    return Ct(zone, bool(flags & numbers.CT_COMMIT), None if table == numbers.CT_NO_TABLE else table, done)


def _controller(body: bytes) -> Controller:
    """What Open vSwitch makes of a Controller2 that has nothing of its own to say."""
    max_len, controller, reason = _CONTROLLER.unpack_from(body)
    if controller or reason != numbers.REASON_ACTION:
        raise Undecodable(f"controller with id {controller} and reason {reason} is none of ours")
    return Controller(max_len=max_len)


def _controller2(body: bytes) -> Controller:
    said = dict(pieces(body[6:], aligned=True))
    if strange := said.keys() - {numbers.MAX_LEN, numbers.USERDATA, numbers.PAUSE, numbers.METER_ID}:
        raise Undecodable(f"controller with properties {sorted(strange)} is none of ours")
    meter, length = said.get(numbers.METER_ID), said.get(numbers.MAX_LEN)
    return Controller(
        userdata=said.get(numbers.USERDATA, b""),
        pause=numbers.PAUSE in said,
        meter_id=None if meter is None else int.from_bytes(meter[:4], "big"),
        max_len=numbers.NO_BUFFER if length is None else int.from_bytes(length[:2], "big"),  # then padding
    )


_Readers = dict[int, Callable[[bytes], AnyAction]]

_READERS: _Readers = {
    numbers.OUTPUT: _output,
    numbers.DEC_NW_TTL: lambda _: DecTtl(),
    numbers.SET_FIELD: _set_field,
    numbers.COPY_FIELD: _copy_field,
}

_NX_READERS: _Readers = {
    numbers.NX_RESUBMIT_TABLE: _resubmit,
    numbers.NX_OUTPUT_REG: _output_reg,
    numbers.NX_CONTROLLER: _controller,
    numbers.NX_CONJUNCTION: _conjunction,
    numbers.NX_CT: _ct,
    numbers.NX_CONTROLLER2: _controller2,
}
