"""What happened to one object, and which of two accounts of it is the later.

Every fold of objects takes the same events and absorbs late, repeated and unheard-of ones alike: of two versions of an
object the greater revision is the truth, and a deletion is a version, too.
"""

from enum import Enum

from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.objects import TYPES, AnyObject
from sluice.contracts.subjects import ObjectSubject

ObjectKey = ObjectSubject
"""Kind, namespace (empty for cluster-scoped kinds) and name: what an object's subject names."""


class ObjectEvent(Struct, frozen=True, gc=False):
    """The object is this since that revision; None means that it does not exist."""

    key: ObjectKey
    object: AnyObject | None
    revision: Revision


class Unread(Struct, frozen=True, gc=False):
    """The object is what these bytes say since that revision; nobody has decoded them."""

    key: ObjectKey
    body: bytes
    """Not empty: there is such an object."""

    revision: Revision


class Wanted(Enum):
    """How a reader wants to be told of a version of an object."""

    NOT = "not at all"
    UNREAD = "as it is stored"
    READ = "decoded"


_KINDS = {struct: kind for kind, struct in TYPES.items()}


def key_of(obj: AnyObject) -> ObjectKey:
    return ObjectKey(_KINDS[type(obj)], *obj.key)


def read(subject: ObjectSubject, body: bytes, revision: Revision) -> ObjectEvent:
    """The event that a message on LEDGER or OBJECTS tells of.

    Raises:
        Undecodable: the body is not an object of the subject's kind.
    """
    return ObjectEvent(subject, codec.decode(body, TYPES[subject[0]]) if body else None, revision)


def read_as(wanted: Wanted, subject: ObjectSubject, body: bytes, revision: Revision) -> ObjectEvent | Unread | None:
    """What a message on OBJECTS tells a reader who wants it so. A deletion is an event.

    Raises:
        Undecodable: the body is to be decoded, and is not an object of the subject's kind.
    """
    if wanted is Wanted.NOT:
        return None
    if wanted is Wanted.UNREAD and body:
        return Unread(subject, body, revision)
    return read(subject, body, revision)


class Newest:
    """Tells news from what is known already, by the revision of each object."""

    def __init__(self) -> None:
        self._at: dict[ObjectKey, Revision] = {}
        self._floor = NEVER
        self._latest = NEVER
        """No revision that is remembered is greater, nor is the floor."""

    def is_news(self, key: ObjectKey, revision: Revision) -> bool:
        """True, once, for a revision of the object that is greater than all seen."""
        if revision > self._latest:  # as nearly always
            self._latest = revision
        elif revision <= self._at.get(key, self._floor):
            return False
        self._at[key] = revision
        return True

    def settle(self, upto: Revision) -> None:
        """Say that everything up to this revision was told: what comes later and is not newer is no news.

        Frees what is remembered of older revisions, those of deleted objects above all. Costs what was told since the
        last time it went on.
        """
        if upto > self._floor:
            self._floor = upto
            if upto < self._latest:
                self._at = {key: at for key, at in self._at.items() if at > upto}
            else:
                self._latest, self._at = upto, {}
