"""A group's id is its content: selectors in equal normal form are one group, whoever wrote them."""

from sluice.contracts import codec
from sluice.contracts.ids import GroupId
from sluice.grouping.selectors import GroupSelector

_POD_V1 = b"pod/1:"
_INTERFACE_V1 = b"interface/1:"
_NODE_V1 = b"node/1:"
"""The kind of address that members have, and the version of the normal form: a change of either makes other ids."""


def group_id(selector: GroupSelector) -> GroupId:
    """32 hex digits (128 bits: nobody can write two selectors that meet)."""
    kind = _NODE_V1 if selector.nodes else _INTERFACE_V1 if selector.networks else _POD_V1
    return GroupId(codec.digest(kind + codec.encode(selector)))
