"""What happened to an object, and which of two versions of it is newer.

Every fold of objects takes these events, and absorbs late, repeated and unexpected ones: of two versions of an object
the greater revision wins, and a deletion is a version too.
"""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from msgspec import Struct

from sluice.contracts import known_part
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.objects import TYPES, AnyObject
from sluice.contracts.subjects import ObjectSubject

ObjectKey = ObjectSubject
"""Kind, namespace (empty for cluster-scoped kinds) and name, as in the object's subject."""


class ObjectEvent(Struct, frozen=True, gc=False):
    """The object as of a revision; None if it does not exist."""

    key: ObjectKey
    object: AnyObject | None
    revision: Revision


_KINDS = {struct: kind for kind, struct in TYPES.items()}


def key_of(obj: AnyObject) -> ObjectKey:
    return ObjectKey(_KINDS[type(obj)], *obj.key)


def read(subject: ObjectSubject, body: bytes, revision: Revision) -> ObjectEvent:
    """The event of a message on LEDGER or OBJECTS.

    Raises:
        Undecodable: the body is not an object of the subject's kind.
    """
    return ObjectEvent(subject, known_part.decode(subject[0], body) if body else None, revision)


class Version(Protocol):
    """Something that was told of an object."""

    @property
    def key(self) -> ObjectKey: ...
    @property
    def revision(self) -> Revision: ...


V = TypeVar("V", bound=Version)


class Newest:
    """Detects late and repeated events, by the revision of each object."""

    def __init__(self) -> None:
        self._at: dict[ObjectKey, Revision] = {}
        self._floor = NEVER
        self._latest = NEVER
        """The greatest revision seen, at least the floor."""

    def is_news(self, key: ObjectKey, revision: Revision) -> bool:
        """True, once, for a revision of the object greater than all seen before."""
        if revision > self._latest:  # as nearly always
            self._latest = revision
        elif revision <= self._at.get(key, self._floor):
            return False
        self._at[key] = revision
        return True

    def news(self, versions: Iterable[V]) -> list[V]:
        """Those that are news, in order."""
        at, floor, latest = self._at, self._floor, self._latest
        found = []
        for one in versions:
            key, revision = one.key, one.revision
            if revision > latest:
                latest = revision
            elif revision <= at.get(key, floor):
                continue
            at[key] = revision
            found.append(one)
        self._latest = latest
        return found

    def settle(self, upto: Revision) -> None:
        """Everything up to this revision was seen: from now on, an event that is not newer is not news.

        Frees what is remembered about older revisions, in particular those of deleted objects. The cost is proportional
        to what was seen since the last advance.
        """
        if upto > self._floor:
            self._floor = upto
            if upto < self._latest:
                self._at = {key: at for key, at in self._at.items() if at > upto}
            else:
                self._latest, self._at = upto, {}
