"""Which policies and Pods a shard has to decode at all: those of which it may have a group.

Of a policy that is found in its bytes: to decode and to turn down one takes 3 to 4 us, this less than one. What is said
here may be yes too often, never no too often.
"""

from sluice.contracts.kinds import SELF_CONTAINED, Kind
from sluice.contracts.shards import shard_of_namespace
from sluice.grouping.events import ObjectKey, Wanted

_NOT, _UNREAD, _READ, _POD = Wanted.NOT, Wanted.UNREAD, Wanted.READ, Kind.POD
"""To look a member up in an Enum takes 0.1 us, and these are asked for with each object."""


def may_reach_beyond(body: bytes) -> bool:
    """The policy may have groups of other Namespaces than its own: it selects Namespaces, or names a port of anybody.

    Args:
        body: as `codec.encode` writes it, and nobody else writes objects: without blanks, letters as they are.
    """
    # From the end: so Python 3.11 finds out in 0.15 us that something is not there, and by `in` in 0.33.
    return body.rfind(b"namespaceSelector") >= 0 or body.rfind(b'"port":"') >= 0


class Concern:
    """What one shard has to be told.

    A policy that was told once is told ever after: the version that no longer concerns the shard ends what the one
    before had. One that is passed over is not known to be unreadable, either; what it named before it was may end here.
    Such policies only allow, so that closes.
    """

    def __init__(self, shard: int, shards: int) -> None:
        self._shard, self._shards = shard, shards
        self._ours: dict[str, bool] = {}
        """Of Namespaces, whether they are the shard's."""

        self._told: set[ObjectKey] = set()
        """Of other shards' Namespaces."""

    def wants(self, key: ObjectKey, body: bytes) -> Wanted:
        """How the shard has to be told of this version of the object."""
        kind, namespace, _ = key
        if kind is not _POD and kind not in SELF_CONTAINED:
            return _READ
        ours = self._ours.get(namespace)
        if ours is None:
            ours = self._ours[namespace] = shard_of_namespace(namespace, self._shards) == self._shard
        if ours:
            return _READ
        if kind is _POD:
            return _UNREAD
        if self._told and key in self._told:
            return _READ
        if may_reach_beyond(body):
            self._told.add(key)
            return _READ
        return _NOT
