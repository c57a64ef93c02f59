"""Encoding of actions and instructions; `actions_read` decodes them.

A flow's actions become one apply-actions instruction, and a trailing Goto becomes goto-table.

Source: OpenFlow 1.5.1 sections 7.2.5 (instructions) and 7.2.6 (actions); for NX_* ovs-actions(7), and Open vSwitch
lib/ofp-actions.c for their layout.
"""

from functools import lru_cache
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class
from typing import assert_never

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
)
from sluice.drivers.openflow.headers import LONGEST_MESSAGE, NICIRA, NotEncodable, padded
from sluice.drivers.openflow.oxm import WIRE

# Instructions: enum ofp_instruction_type
GOTO_TABLE = 1
APPLY_ACTIONS = 4

# Actions: enum ofp_action_type
OUTPUT = 0
PUSH_VLAN = 17
POP_VLAN = 18
DEC_NW_TTL = 24
SET_FIELD = 25
COPY_FIELD = 28
EXPERIMENTER = 0xFFFF

GROUP = 22
METER = 29

VLAN_TAG = b"\x81\x00"
"""Of the tags that we push. Source: IEEE 802.1Q, the customer tag."""

# Actions of the experimenter NICIRA: enum ofp_raw_action_type, NX1.0+
NX_RESUBMIT_TABLE = 14
NX_OUTPUT_REG = 15
NX_CONTROLLER = 20
NX_LEARN = 16
NX_CONJUNCTION = 34
NX_CT = 35
NX_NAT = 36
NX_CONTROLLER2 = 37

NAT_ENDS = {"": 0, "src": 1, "dst": 2}
"""NX_NAT_F_*"""

IPV4_MIN, IPV6_MIN, PROTO_MIN = 1, 4, 16
"""NX_NAT_RANGE_*: which ends of address and port ranges follow; ours have one element."""

DELETE_LEARNED = 2
"""NX_LEARN_F_DELETE_LEARNED"""

LEARN_LOAD, LEARN_VALUE = 1 << 11, 1 << 13
"""Header bits of a learn spec: NX_LEARN_DST_LOAD (otherwise it matches), NX_LEARN_SRC_IMMEDIATE (otherwise a field).
The last ten bits hold the number of bits. Source: nicira-ext.h, NXAST_LEARN."""

LEARN = Struct("!HHHQHBxHH")
"""Idle and hard timeout, priority, cookie, flags, table, timeouts after FIN."""

NAT = Struct("!2xHH")

CT_COMMIT = 1
"""NX_CT_F_COMMIT"""

CT_NO_TABLE = 0xFF
"""NX_CT_RECIRC_NONE"""

RESUBMIT_IN_PORT = 0xFFF8
"""OFPP_IN_PORT of OpenFlow 1.0: resubmit with the packet's own ingress port."""

NO_BUFFER = 0xFFFF
"""OFPCML_NO_BUFFER: send the whole packet."""

# Properties of NX_CONTROLLER2: enum nx_action_controller2_prop_type
MAX_LEN, CONTROLLER_ID, REASON, USERDATA, PAUSE, METER_ID = range(6)

REASON_ACTION = 1
"""OFPR_ACTION: the reason that our flows give."""

PREFIX = Struct("!HH")
"""type, length: of every instruction, action and property"""

_INSTRUCTION = Struct("!HH4x")
_GOTO = Struct("!HHB3x")
_OUTPUT = Struct("!HHIH6x")
_COPY = Struct("!HHHHH2x")
_NX = Struct("!HHIH")
_RESUBMIT = Struct("!HB3x")
_OUTPUT_REG = Struct("!HIH6x")
_CONJUNCTION = Struct("!HHIHBBI")
_CT = Struct("!HIHB3xH")


@lru_cache(maxsize=8192)
def encode_instructions(actions: Actions) -> bytes:
    """The instructions that carry out the actions; no instructions drop the packet.

    Raises:
        NotEncodable: Goto is not the last action, a value is wider than its field, or the result exceeds a message.
    """
    target: int | None = None
    if actions and isinstance(actions[-1], Goto):
        target = actions[-1].table
        actions = actions[:-1]
    written = encode_actions(actions)
    if len(written) > LONGEST_MESSAGE - _INSTRUCTION.size:
        raise NotEncodable(
            f"{len(actions)} actions take {len(written)} octets, and a message has room for {LONGEST_MESSAGE}: "
            "split the flow, for instance by giving the rules that share it priorities of their own"
        )
    instructions = _INSTRUCTION.pack(APPLY_ACTIONS, _INSTRUCTION.size + len(written)) + written if written else b""
    if target is not None:
        instructions += _GOTO.pack(GOTO_TABLE, _GOTO.size, target)
    return instructions


def encode_actions(actions: Actions) -> bytes:
    """The bare list of actions, as used in apply-actions, buckets and packet-outs."""
    try:
        return b"".join([encode_action(action) for action in actions])
    except (StructError, OverflowError) as error:
        raise NotEncodable(f"actions {actions}: {error}: a value is wider than its field") from error


def encode_action(action: AnyAction) -> bytes:
    match action:
        case Conjunction(id=number, clause=clause, clauses=clauses):
            return _CONJUNCTION.pack(EXPERIMENTER, 16, NICIRA, NX_CONJUNCTION, clause - 1, clauses, number)
        case Output(port=port):
            return _OUTPUT.pack(OUTPUT, _OUTPUT.size, port, NO_BUFFER)
        case OutputField(field=field):
            header = int.from_bytes(WIRE[field].exact, "big")
            return _nx(NX_OUTPUT_REG, _OUTPUT_REG.pack(field.spec.bits - 1, header, NO_BUFFER))  # from bit 0
        case SetField(field=field, value=value, mask=mask):
            wire = WIRE[field]
            if mask is None or mask == (1 << field.spec.bits) - 1:
                return _standard(SET_FIELD, wire.exact + value.to_bytes(wire.size, "big"))
            octets = (value & mask).to_bytes(wire.size, "big") + mask.to_bytes(wire.size, "big")
            return _standard(SET_FIELD, wire.masked + octets)
        case MoveField():
            fields = WIRE[action.source].exact + WIRE[action.target].exact
            length = len(padded(bytes(_COPY.size) + fields))
            copy = _COPY.pack(COPY_FIELD, length, action.bits, action.source_offset, action.target_offset)
            return padded(copy + fields)
        case DecTtl():
            return _standard(DEC_NW_TTL, b"")
        case PushVlan():
            return _standard(PUSH_VLAN, VLAN_TAG)
        case PopVlan():
            return _standard(POP_VLAN, b"")
        case Ct():
            table = CT_NO_TABLE if action.table is None else action.table
            fixed = _CT.pack(CT_COMMIT if action.commit else 0, 0, action.zone, table, 0)
            nat = _nat(action.nat) if action.nat is not None else b""
            return _nx(NX_CT, fixed + nat + b"".join([encode_action(inner) for inner in action.exec]))
        case Group(id=number):
            return PREFIX.pack(GROUP, 8) + number.to_bytes(4, "big")
        case Meter(id=number):
            return PREFIX.pack(METER, 8) + number.to_bytes(4, "big")
        case Learn():
            return _nx(NX_LEARN, _learn(action))
        case Resubmit(table=table):
            return _nx(NX_RESUBMIT_TABLE, _RESUBMIT.pack(RESUBMIT_IN_PORT, table))
        case Controller():
            return _nx(NX_CONTROLLER2, bytes(6) + _controller_properties(action))
        case Goto():
            raise NotEncodable(f"goto_table:{action.table} stands before other actions: it must be the last")
        case _:
            assert_never(action)


def _nat(nat: Nat) -> bytes:
    present, ranges = 0, b""
    if nat.end:
        present |= IPV4_MIN if nat.version == 4 else IPV6_MIN
        ranges += nat.address.to_bytes(4 if nat.version == 4 else 16, "big")
    if nat.port is not None:
        present |= PROTO_MIN
        ranges += nat.port.to_bytes(2, "big")
    return _nx(NX_NAT, NAT.pack(NAT_ENDS[nat.end], present) + ranges)


def _learn(learn: Learn) -> bytes:
    fixed = LEARN.pack(
        *(learn.idle_timeout_s, 0, learn.priority, learn.cookie, DELETE_LEARNED, learn.table, 0, 0),
    )
    parts = [fixed]
    for field, value, _ in learn.exact:
        wire = WIRE[field]
        octets = value.to_bytes((field.spec.bits + 15) // 16 * 2, "big")
        parts.append((LEARN_VALUE | field.spec.bits).to_bytes(2, "big") + octets + wire.exact + bytes(2))
    for fields, does in ((learn.same, 0), (learn.gives, LEARN_LOAD)):
        for field in fields:
            place = WIRE[field].exact + bytes(2)
            parts.append((does | field.spec.bits).to_bytes(2, "big") + place + place)
    return b"".join(parts)


def _standard(type: int, body: bytes) -> bytes:
    octets = padded(bytes(PREFIX.size) + body)
    return PREFIX.pack(type, len(octets)) + octets[PREFIX.size :]


def _nx(subtype: int, body: bytes) -> bytes:
    octets = padded(bytes(_NX.size) + body)
    return _NX.pack(EXPERIMENTER, len(octets), NICIRA, subtype) + octets[_NX.size :]


def _controller_properties(action: Controller) -> bytes:
    properties = []
    if action.max_len != NO_BUFFER:
        properties.append((MAX_LEN, action.max_len.to_bytes(2, "big")))
    if action.controller_id:
        properties.append((CONTROLLER_ID, action.controller_id.to_bytes(2, "big")))
    if action.userdata:
        properties.append((USERDATA, action.userdata))
    if action.pause:
        properties.append((PAUSE, b""))
    if action.meter_id is not None:
        properties.append((METER_ID, action.meter_id.to_bytes(4, "big")))
    return b"".join(padded(PREFIX.pack(name, PREFIX.size + len(value)) + value) for name, value in properties)
