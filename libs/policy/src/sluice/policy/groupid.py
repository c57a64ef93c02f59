"""Group ids are derived from content: selectors with the same normal form are one group, whoever wrote them.

The id begins with the group's place. All groups confined to the same Namespace have the same place, so one shard owns
all of them, and the other shards need not look into that Namespace (`contracts.shards`, ADR 12). A group that spans
several Namespaces, or consists of nodes, has a place of its own.
"""

from sluice.contracts import codec
from sluice.contracts.ids import GroupId
from sluice.contracts.shards import PLACE_DIGITS, place_of
from sluice.grouping.selectors import GroupSelector

_POD_V1 = b"pod/1:"
_INTERFACE_V1 = b"interface/1:"
_NODE_V1 = b"node/1:"
"""The kind of address that members have, and the version of the normal form; changing either changes the ids."""


def group_id(selector: GroupSelector) -> GroupId:
    """4 hex digits for its place and 32 for its content (128 bits: no two selectors can be made to collide)."""
    kind = _NODE_V1 if selector.nodes else _INTERFACE_V1 if selector.networks else _POD_V1
    content = codec.digest(kind + codec.encode(selector))
    namespace = _only_namespace(selector)
    return GroupId((place_of(namespace) if namespace else content[:PLACE_DIGITS]) + content)


def _only_namespace(selector: GroupSelector) -> str:
    """The Namespace that contains all members; empty if members may be elsewhere."""
    terms = selector.terms
    if not terms:
        return ""
    first = terms[0].namespace
    if len(terms) > 1 and any(term.namespace != first for term in terms):
        return ""
    return first
