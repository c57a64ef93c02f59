"""Which policies and Pods a shard has to decode: those that may concern a group of its own.

Whether a policy does is found in its bytes, in less than a microsecond; decoding and dismissing it would take 3 to 4.
The answer may be a false positive, never a false negative.
"""

from sluice.contracts.ids import Revision
from sluice.contracts.kinds import SELF_CONTAINED, Kind
from sluice.contracts.shards import shard_of_namespace
from sluice.grouping import bystanders
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent, ObjectKey, read

_POD = Kind.POD
"""Looking up a member of an Enum takes 0.1 us, and this one is needed for each object."""


def may_reach_beyond(body: bytes) -> bool:
    """The policy may have groups outside its own Namespace: it has a namespaceSelector, or a named port of any peer.

    Args:
        body: as written by `codec.encode`, the only writer of objects: no whitespace, no escaped letters.
    """
    # In Python 3.11, rfind takes 0.15 us to find nothing, and `in` 0.33.
    return body.rfind(b"namespaceSelector") >= 0 or body.rfind(b'"port":"') >= 0


class Concern:
    """What one shard has to read, and in what form.

    Once a policy was read, all its later versions are: one that no longer concerns the shard ends what an earlier
    version had. A policy that is passed over may be unreadable without the shard noticing, and the groups that an
    earlier version named may end here. Such policies only allow, so this fails closed.
    """

    def __init__(self, shard: int, shards: int) -> None:
        self._shard, self._shards = shard, shards
        self._ours: dict[str, bool] = {}
        """Namespaces, and whether they belong to the shard."""

        self._told: set[ObjectKey] = set()
        """Policies in other shards' Namespaces that were read."""

    def read(self, key: ObjectKey, body: bytes, revision: Revision) -> ObjectEvent | Bystander | None:
        """The version of the object in the form that the shard needs; None if it does not concern the shard.

        Raises:
            Undecodable: it concerns the shard, and is not an object of its kind.
        """
        kind, namespace, _ = key
        if kind is _POD or kind in SELF_CONTAINED:
            ours = self._ours.get(namespace)
            if ours is None:
                ours = self._ours[namespace] = shard_of_namespace(namespace, self._shards) == self._shard
            if not ours:
                if kind is _POD:
                    if body:
                        return bystanders.read(key, body, revision)
                elif not self._told or key not in self._told:
                    if not may_reach_beyond(body):
                        return None
                    self._told.add(key)
        return read(key, body, revision)
