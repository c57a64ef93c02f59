"""Select groups: several buckets for a packet, of which one is chosen.

Source: OpenFlow 1.5.1 section 7.3.4.4, struct ofp_group_mod and ofp_bucket; section 7.3.5.8 for their description.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class

from sluice.dataplane.ovs.flow import Actions, Buckets, Groups
from sluice.drivers.openflow.actions import encode_actions
from sluice.drivers.openflow.actions_read import decode_actions
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.stats import MULTIPART


class GroupCommand(IntEnum):
    """enum ofp_group_mod_command."""

    DELETE = 2
    ADD_OR_MODIFY = 0x8000
    """Open vSwitch's OFPGC15_ADD_OR_MOD."""


_SELECT = 1
"""OFPGT_SELECT"""

_ALL_BUCKETS = 0xFFFFFFFF
"""OFPG_BUCKET_ALL"""

_GROUP_MOD = Struct("!HBxIH2xI")
_BUCKET = Struct("!HHI")
_WEIGHT = Struct("!HHH2x").pack(0, 8, 1)
"""The property OFPGBPT_WEIGHT with weight one."""


def encode_group_mod(command: GroupCommand, group: int, buckets: Buckets = ()) -> bytes:
    """The body of a GROUP_MOD message; the buckets have equal weights.

    Raises:
        NotEncodable
    """
    octets = b"".join(_bucket(number, actions) for number, actions in enumerate(buckets))
    return _GROUP_MOD.pack(command, _SELECT, group, len(octets), _ALL_BUCKETS) + octets


def _bucket(number: int, actions: Actions) -> bytes:
    octets = encode_actions(actions)
    return _BUCKET.pack(_BUCKET.size + len(octets) + len(_WEIGHT), len(octets), number) + octets + _WEIGHT


GROUP_DESC = 7
"""OFPMP_GROUP_DESC"""

_ALL_GROUPS = 0xFFFFFFFC
"""OFPG_ALL"""

_DESC = Struct("!HBxIH6x")
"""struct ofp_group_desc: length, type, group, length of the buckets"""


def encode_desc_request() -> bytes:
    """The body of a MULTIPART_REQUEST for all groups."""
    return MULTIPART.pack(GROUP_DESC, 0) + Struct("!I4x").pack(_ALL_GROUPS)


def decode_desc(part: bytes) -> Groups:
    """The groups in one part of the reply. Groups of another type, or that ours can never be, have no buckets here.

    Raises:
        Undecodable: the part is broken.
    """
    found: Groups = {}
    position = 0
    try:
        while position < len(part):
            length, kind, number, size = _DESC.unpack_from(part, position)
            if length < _DESC.size + size or position + length > len(part):
                raise Undecodable(f"a group description at {position} has {length} octets")
            buckets = part[position + _DESC.size : position + _DESC.size + size]
            try:
                found[number] = tuple(_read_buckets(buckets)) if kind == _SELECT else ()
            except Undecodable:
                found[number] = ()
            position += length
    except StructError as error:
        raise Undecodable(f"a group description at {position} is cut short") from error
    return found


def _read_buckets(octets: bytes) -> Iterator[Actions]:
    position = 0
    while position < len(octets):
        length, actions, _ = _BUCKET.unpack_from(octets, position)
        if length < _BUCKET.size + actions:
            raise Undecodable(f"a bucket at {position} has {length} octets")
        begin = position + _BUCKET.size
        if octets[begin + actions : position + length] != _WEIGHT:
            raise Undecodable(f"a bucket at {position} has another weight than ours")
        yield decode_actions(octets[begin : begin + actions])
        position += length
