"""Groups: several ways for a packet to go, of which one is chosen (select) or all are gone (all).

Source: OpenFlow 1.5.1 section 7.3.4.4, struct ofp_group_mod and ofp_bucket.
"""

from enum import IntEnum
from struct import Struct

import msgspec

from sluice.dataplane.ovs.flow import Actions
from sluice.drivers.openflow.actions import encode_actions


class GroupCommand(IntEnum):
    """What to do: enum ofp_group_mod_command."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


class GroupType(IntEnum):
    """What becomes of a packet: enum ofp_group_type."""

    ALL = 0
    SELECT = 1


class Group(msgspec.Struct, frozen=True):
    id: int
    type: GroupType
    buckets: tuple[Actions, ...]
    """Each chosen as often as the others."""


_ALL_BUCKETS = 0xFFFFFFFF
"""OFPG_BUCKET_ALL"""

_GROUP_MOD = Struct("!HBxIH2xI")
_BUCKET = Struct("!HHI")
_WEIGHT = Struct("!HHH2x").pack(0, 8, 1)
"""The property OFPGBPT_WEIGHT of one."""


def encode_group_mod(command: GroupCommand, group: Group) -> bytes:
    """The body of a GROUP_MOD message.

    Raises:
        NotEncodable
    """
    buckets = b""
    if command is not GroupCommand.DELETE:
        buckets = b"".join(_bucket(number, group, actions) for number, actions in enumerate(group.buckets))
    return _GROUP_MOD.pack(command, group.type, group.id, len(buckets), _ALL_BUCKETS) + buckets


def _bucket(number: int, group: Group, actions: Actions) -> bytes:
    octets = encode_actions(actions)
    properties = _WEIGHT if group.type is GroupType.SELECT else b""
    return _BUCKET.pack(_BUCKET.size + len(octets) + len(properties), len(octets), number) + octets + properties
