"""Bundles: changes that a switch applies all at once, or not at all.

This is the hot path: a switch that lost its state gets a hundred thousand flows through here, and parses the first ones
while the rest is being encoded. Therefore a flow mod and its bundle wrapper are packed in one step.

Source: OpenFlow 1.5.1 sections 7.3.9 (messages) and 6.8 (semantics). Open vSwitch requires the same xid in both
headers.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class
from types import MappingProxyType

from sluice.dataplane.ovs.flow import Actions, Buckets, FlowBody, FlowKey
from sluice.drivers.openflow.actions import encode_instructions
from sluice.drivers.openflow.flow_mod import Command, Stranger, encode_removal, not_encodable
from sluice.drivers.openflow.groups import GroupCommand, encode_group_mod
from sluice.drivers.openflow.headers import LONGEST_MESSAGE, VERSION, NotEncodable, Type, message
from sluice.drivers.openflow.oxm import OXM, encode_fields


class Control(IntEnum):
    """enum ofp_bundle_ctrl_type; the reply to each request has the next number."""

    OPEN_REQUEST = 0
    COMMIT_REQUEST = 4
    DISCARD_REQUEST = 6


ATOMIC_AND_ORDERED = 1 | 2
"""OFPBF_ATOMIC | OFPBF_ORDERED"""

CHUNK = 1 << 16
"""Octets per write: enough to make system calls cheap, few enough to give the switch work from the start."""

_CONTROL = Struct("!IHH")
_WRAP = Struct("!BBHIIHH")
_WRAPPED = Struct("!HHI8s HHI Q8xBB4xH12s4x HH")
"""Version and type, length, xid, bundle; the same of the flow mod; its cookie, table, command, priority, no buffer, any
port, any group; type and length of the match. See flow_mod._FIXED."""

_OUTER = VERSION << 8 | Type.BUNDLE_ADD_MESSAGE
_INNER = VERSION << 8 | Type.FLOW_MOD
_ANY = b"\xff" * 12
_PADDING = tuple(bytes(-(length + 4) % 8) for length in range(8))
"""Padding after an OXM list, by the last three bits of its length: the match began four octets before the list."""


def encode_control(bundle: int, control: Control) -> bytes:
    """The body of a BUNDLE_CONTROL message."""
    return _CONTROL.pack(bundle, control, ATOMIC_AND_ORDERED)


def wrap(bundle: int, xid: int, message: bytes) -> bytes:
    """A message wrapped as part of the bundle; its own xid must be `xid`."""
    length = _WRAP.size + len(message)
    if length > LONGEST_MESSAGE:
        raise NotEncodable(f"{length} octets, and a bundle's message has room for {LONGEST_MESSAGE}")
    return _WRAP.pack(VERSION, Type.BUNDLE_ADD_MESSAGE, length, xid, bundle, 0, ATOMIC_AND_ORDERED) + message


def encode_changes(
    bundle: int,
    first_xid: int,
    put: Mapping[FlowKey, FlowBody],
    delete: Collection[FlowKey] = (),
    strangers: Collection[Stranger] = (),
    *,
    groups: Mapping[int, Buckets] = MappingProxyType({}),
    delete_groups: Collection[int] = (),
) -> Iterator[bytes]:
    """The changes as messages of the bundle, in chunks, in the order in which `Changes` numbers them.

    The xids count up from `first_xid`, one per change.

    Raises:
        NotEncodable: naming the flow and why.
    """
    for xid, stranger in enumerate(strangers, first_xid):
        yield wrap(bundle, xid, encode_removal(stranger, xid))
    first_xid += len(strangers)
    for xid, (number, buckets) in enumerate(groups.items(), first_xid):
        yield _group_mod(bundle, xid, GroupCommand.ADD_OR_MODIFY, number, buckets)
    first_xid += len(groups)
    yield from _flow_mods(bundle, first_xid, Command.DELETE_STRICT, ((key, _NOTHING) for key in delete))
    first_xid += len(delete)
    yield from _flow_mods(bundle, first_xid, Command.ADD, put.items())
    first_xid += len(put)
    for xid, number in enumerate(delete_groups, first_xid):
        yield _group_mod(bundle, xid, GroupCommand.DELETE, number)


def _group_mod(bundle: int, xid: int, command: GroupCommand, group: int, buckets: Buckets = ()) -> bytes:
    try:
        return wrap(bundle, xid, message(Type.GROUP_MOD, xid, encode_group_mod(command, group, buckets)))
    except (StructError, OverflowError, NotEncodable) as error:
        raise NotEncodable(f"group {group} of {len(buckets)} buckets: {error}") from error


_NOTHING = FlowBody((), 0)


def _flow_mods(
    bundle: int, first_xid: int, command: Command, flows: Iterable[tuple[FlowKey, FlowBody]]
) -> Iterator[bytes]:
    number = int(command)  # packing an IntEnum is slow
    bundle_and_flags = _CONTROL.pack(bundle, 0, ATOMIC_AND_ORDERED)
    pack, fixed_size, unwrapped = _WRAPPED.pack, _WRAPPED.size, _WRAP.size
    parts: list[bytes] = []
    size = 0
    known: Actions | None = None
    instructions = b""
    for xid, (key, (actions, cookie)) in enumerate(flows, first_xid):
        table, priority, match = key
        try:
            if actions is not known:
                instructions = encode_instructions(actions)
                known = actions
            fields = encode_fields(match)
            padding = _PADDING[len(fields) & 7]
            length = fixed_size + len(fields) + len(padding) + len(instructions)
            if length > LONGEST_MESSAGE:
                raise NotEncodable(f"{length} octets, and a bundle's message has room for {LONGEST_MESSAGE}")
            fixed = pack(
                *(_OUTER, length, xid, bundle_and_flags, _INNER, length - unwrapped, xid),
                *(cookie, table, number, priority, _ANY, OXM, 4 + len(fields)),
            )
        except (StructError, OverflowError, NotEncodable) as error:
            raise not_encodable(key, error) from error
        parts += (fixed, fields, padding, instructions)
        size += length
        if size >= CHUNK:
            yield b"".join(parts)
            parts.clear()
            size = 0
    if parts:
        yield b"".join(parts)
