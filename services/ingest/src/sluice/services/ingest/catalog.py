"""Which objects are in force, given the latest contents of each file. Pure.

Each object belongs to one file: if several contain the same object (or the same uid, or the same tier priority), the
first by path wins, and the others are reported. A file that cannot be taken in completely keeps what it held before. An
object that is in the stream but in no file is deleted once every file could be read at least once, because until then a
bad file may be where it belongs. An object that the other objects rule out (a policy whose tier does not exist, groups
nested too deeply, one tier too many) is not taken in; its previous version stays. Which object rules out which does not
depend on the order in which files are read.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from sluice.admission.admit import admit
from sluice.admission.among import admit_among, admit_removal, asks_for, missing_tier, needs
from sluice.admission.context import KINDS, Known
from sluice.admission.refusal import Refusal
from sluice.admission.tier import MAX_TIERS, taken_priority, too_many_tiers
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import AnyGroup, AnyPolicy, Tier
from sluice.contracts.status import DocumentProblem
from sluice.contracts.subjects import ObjectSubject
from sluice.kube.manifest import Document

_GROUPS = frozenset((Kind.CLUSTER_GROUP, Kind.GROUP))


_NOWHERE = chr(0x10FFFF)
"""Stands for no file: sorts after every path."""


class Key(NamedTuple):
    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{RESOURCES[self.kind].kind} {name}"


def key_of(document: Document) -> Key:
    return Key(document.kind, *document.object.key)


class Contents(NamedTuple):
    """The contents of a file."""

    documents: tuple[Document, ...]
    problems: tuple[DocumentProblem, ...]
    whole: bool
    """Everything in it was taken in. Otherwise what the file held before stays."""

    ignored: tuple[str, ...] = ()
    """Kinds in it that are not ours, or what such an object hints at; sorted."""


class Changes(NamedTuple):
    put: Mapping[Key, bytes]
    remove: frozenset[Key]


class Claim(NamedTuple):
    """Something that only one document may have: an object's name, a uid, or a tier priority."""

    key: Key | None
    uid: str
    priority: int = -1


class Place(NamedTuple):
    """The position of a document; among those with the same claim, the least is in force."""

    stale: bool
    """The file no longer contains this, but the file is bad, and this is what it held before."""

    file: str
    line: int
    path: str
    key: Key


class Held(Struct, frozen=True):
    place: Place
    uid: str
    claims: tuple[Claim, ...]
    body: bytes
    document: Document | None = None
    """Only kept if admission of this or of other objects depends on both."""

    tier: Key | None = None
    """The tier that must exist for the object to be valid."""

    asks_for: frozenset[Key] = frozenset()
    """Other objects on which its admission depends."""


class Catalog:
    """The contents of all files, and which document wins. `drain` returns what changed since the last call."""

    def __init__(self, stored: Mapping[Key, str], make_uid: Callable[[], str]) -> None:
        """`stored`: the objects in the stream, with their uids; the uid is empty if the object is unreadable."""
        self._make_uid = make_uid
        self._uids = {key: uid for key, uid in stored.items() if uid}
        self._in_force = dict.fromkeys(stored, b"")
        self._unheard = set(stored)
        self._unread: set[str] = set()
        self._files: dict[str, dict[Key, Held]] = {}
        self._problems: dict[str, tuple[DocumentProblem, ...]] = {}
        self._claims: dict[Claim, dict[Place, Held]] = {}
        self._contested: set[Claim] = set()
        self._needing: dict[Key, set[Key]] = {}
        self._known = Known()
        self._custom: dict[Key, Place] = {}
        """Positions of the tiers that are not static."""

        self._unmet: dict[Key, tuple[DocumentProblem, ...]] = {}
        self._dirty: set[Key] = set()

    @property
    def files(self) -> frozenset[str]:
        return frozenset(self._files.keys() - {_NOWHERE})

    def loses(self, file: str, contents: Contents) -> bool:
        """Taking in these contents would remove an object from the file that holds it."""
        said = {key_of(document) for document in contents.documents}
        return contents.whole and any(key not in said for key in self._files.get(file, {}))

    def imply(self, documents: Iterable[Document]) -> None:
        """Objects that exist by default: in this form, unless a file contains them."""
        self._replace(
            _NOWHERE, {key_of(document): _stale(self._held(document, key_of(document))) for document in documents}
        )

    def take(self, file: str, contents: Contents) -> None:
        """Take in a file's current contents."""
        before = self._files.get(file, {})
        after: dict[Key, Held] = {}
        problems = list(contents.problems)
        for document in contents.documents:
            key = key_of(document)
            if key in after:
                line = after[key].place.line
                problems.append(
                    document.problem("$.metadata.name", f"{key} is in line {line} already; remove one of them")
                )
                continue
            after[key] = self._held(document, key)
        if contents.whole:
            self._unread.discard(file)
        else:
            after |= {key: _stale(held) for key, held in before.items() if key not in after}
            if file not in self._files:
                self._unread.add(file)
        self._replace(file, after)
        self._problems[file] = tuple(problems)

    def drop(self, file: str) -> None:
        """Take in that the file was deleted."""
        self._replace(file, {})
        del self._files[file], self._problems[file]
        self._unread.discard(file)

    def drain(self, *, everything_seen: bool) -> Changes:
        """Return what changed since the last call. `everything_seen`: the whole folder was readable."""
        put: dict[Key, bytes] = {}
        remove: set[Key] = set()
        if everything_seen and not self._unread:
            self._dirty |= self._unheard
            self._unheard.clear()
        self._dirty |= self._concerned()
        tiers = {key for key in self._dirty if key.kind is Kind.TIER}
        for key in sorted(tiers):
            self._settle(key, put, remove)
        self._dirty |= {key for tier in tiers for key in self._needing.get(tier, ())}
        for key in sorted(self._dirty - tiers):
            self._settle(key, put, remove)
        self._dirty.clear()
        return Changes(put, frozenset(remove))

    def _concerned(self) -> set[Key]:
        """Update the known objects from those that changed; return the objects whose admission this may affect."""
        concerned: set[Key] = set()
        for key in self._dirty:
            if key.kind not in KINDS:
                continue
            before = self._known.group(key.namespace, key.name) if key.kind in _GROUPS else None
            winner = self._winner(key)
            made = winner.document.object if winner is not None and winner.document is not None else None
            if made is None:
                self._known.remove(ObjectSubject(*key))
            else:
                self._known.put(made)
            for group in (before, made):
                if isinstance(group, AnyGroup):
                    concerned.update(Key(key.kind, key.namespace, child) for child in group.spec.child_groups)
            concerned |= self._needing.get(key, set())
            if key.kind is Kind.TIER:
                self._custom.pop(key, None)
                if winner is not None and key.name not in STATIC_TIERS:
                    self._custom[key] = winner.place
                concerned |= self._custom.keys()
        return {key for key in concerned if Claim(key, "") in self._claims}

    def _settle(self, key: Key, put: dict[Key, bytes], remove: set[Key]) -> None:
        winner = self._winner(key)
        self._unmet.pop(key, None)
        if winner is None:
            self._uids.pop(key, None)  # a later object of this name is a new one
            if self._in_force.pop(key, None) is not None:
                remove.add(key)
            return
        self._uids[key] = winner.uid
        if refused := self._refused(key, winner):
            self._unmet[key] = refused
        elif self._in_force.get(key) != winner.body:
            self._in_force[key] = put[key] = winner.body

    def _refused(self, key: Key, held: Held) -> tuple[DocumentProblem, ...]:
        """Why the other objects rule out this one; empty if they do not."""
        document = held.document
        if document is None:
            return ()
        refusals: list[Refusal] = []
        if held.tier is not None and held.tier not in self._in_force:
            refusals.append(missing_tier(held.tier.name))
        if key in self._too_many():
            refusals.append(too_many_tiers())
        if not isinstance(document.object, Tier):  # between two tiers with one priority the claims decide
            exists = (held.tier.name,) if held.tier else ()
            refusals += admit_among(document.object, self._known, exists)
        return tuple(document.problem(*refusal) for refusal in refusals)

    def refusals(self, document: Document) -> tuple[Refusal, ...]:
        """All reasons to refuse the object in this form: its own, and those from other objects."""
        made, tier = document.object, needs(document.object)
        exists = (tier,) if tier and Key(Kind.TIER, "", tier) in self._in_force else ()
        missing = (missing_tier(tier),) if tier and not exists else ()
        return (*admit(made), *(missing or admit_among(made, self._known, exists)))

    def stays(self, key: Key) -> str | None:
        """Why the object must not be deleted; None if it may be."""
        return admit_removal(ObjectSubject(*key), self._known)

    def _too_many(self) -> frozenset[Key]:
        """The tiers in excess of the limit: the last ones by position."""
        room = MAX_TIERS - len(STATIC_TIERS)
        if len(self._custom) <= room:
            return frozenset()
        return frozenset(sorted(self._custom, key=lambda key: self._custom[key])[room:])

    def problems(self) -> tuple[DocumentProblem, ...]:
        """Everything that is not in force as written, sorted."""
        found = [problem for problems in self._problems.values() for problem in problems]
        for claim in self._contested:
            winner, *losers = sorted(self._claims[claim])
            found += [_contested(claim, winner, loser) for loser in losers if not loser.stale]
        for key, refused in self._unmet.items():
            held = self._winner(key)
            if held is not None and not held.place.stale:
                found += refused
        plain = {DocumentProblem(file=one.file, line=one.line, path=one.path, reason=one.reason) for one in found}
        return tuple(sorted(plain))

    def _held(self, document: Document, key: Key) -> Held:
        place = Place(stale=False, file=document.file, line=document.line, path=document.path, key=key)
        own = document.object.metadata.uid
        claims = [Claim(key, "")]
        if own:
            claims.append(Claim(None, own))
        made = document.object
        if isinstance(made, Tier) and made.metadata.name not in STATIC_TIERS:
            claims.append(Claim(None, "", made.spec.priority))
        uid = own or self._uids.get(key) or self._make_uid()
        self._uids[key] = uid
        tier, others = needs(made), frozenset(Key(*name) for name in asks_for(made))
        alone = document.kind not in KINDS or (isinstance(made, AnyPolicy) and tier is None and not others)
        return Held(
            place,
            uid,
            tuple(claims),
            document.body if own else document.identified(uid).body,
            None if alone else document,
            Key(Kind.TIER, "", tier) if tier else None,
            others,
        )

    def _replace(self, file: str, after: dict[Key, Held]) -> None:
        before = self._files.get(file, {})
        self._files[file] = after
        for held in before.values():
            for claim in held.claims:
                del self._claims[claim][held.place]
        for held in after.values():
            for claim in held.claims:
                self._claims.setdefault(claim, {})[held.place] = held
            for needed in (*held.asks_for, *((held.tier,) if held.tier is not None else ())):
                self._needing.setdefault(needed, set()).add(held.place.key)
        self._unheard -= after.keys()
        for held in (*before.values(), *after.values()):
            self._dirty.add(held.place.key)
            for claim in held.claims:
                self._judge(claim)

    def _judge(self, claim: Claim) -> None:
        places = self._claims.get(claim)
        if not places:
            self._claims.pop(claim, None)
            self._contested.discard(claim)
            return
        self._dirty |= {place.key for place in places}
        if len(places) > 1:
            self._contested.add(claim)
        else:
            self._contested.discard(claim)

    def _winner(self, key: Key) -> Held | None:
        places = self._claims.get(Claim(key, ""))
        if not places:
            return None
        place = min(places)
        held = places[place]
        return held if all(min(self._claims[claim]) == place for claim in held.claims) else None


def _stale(held: Held) -> Held:
    return replace(held, place=held.place._replace(stale=True))


def _contested(claim: Claim, winner: Place, loser: Place) -> DocumentProblem:
    if claim.priority >= 0:
        _, reason = taken_priority(claim.priority, winner.key.name)
        return DocumentProblem(file=loser.file, line=loser.line, path=f"{loser.path}.spec.priority", reason=reason)
    what, field = (str(claim.key), "name") if claim.key else (f"the uid {claim.uid} of {winner.key}", "uid")
    reason = f"{what} is in {winner.file}, line {winner.line}, which comes first; remove one of them"
    return DocumentProblem(file=loser.file, line=loser.line, path=f"{loser.path}.metadata.{field}", reason=reason)
