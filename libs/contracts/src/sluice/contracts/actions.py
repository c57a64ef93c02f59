"""ACTIONS: the changes that people make through the API, and the request by which query-api asks ingest to make them.

Every change is recorded twice: before it is attempted, and when it was made or refused. So there is no change without
a record of who asked for it.
"""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind


class Action(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change that somebody makes to an object, in one of its states (`actions.<replica>`)."""

    id: str
    """Shared by all messages about the same change."""

    at_ns: int
    """When this state was reached, nanoseconds since 1970."""

    state: Literal["asked", "done", "refused", "unknown"]
    """`unknown`: ingest did not answer, so the change may or may not have been made."""

    verb: Literal["put", "delete"]
    kind: Kind
    namespace: str = ""
    name: str
    who: str
    """The caller's name in the token file, else the common name of the certificate; `local` on loopback."""

    by: Literal["token", "certificate", "loopback"]
    address: str = ""
    """Address of the client."""

    reason: str = ""
    """The reason that the caller gave."""

    before: Revision | None = None
    """Revision of the object, as known to the API at the time of the request; unset if there was no object."""

    after: Revision | None = None
    """Revision after the change; unset if the object is gone. `before` if nothing changed, or not seen in time."""

    says: str = ""
    """Why the change was refused."""


class PutQuestion(Struct, frozen=True, kw_only=True, tag="put"):
    """Request to create or replace an object."""

    kind: Kind
    namespace: str
    name: str
    body: bytes
    """The object as JSON."""

    expected: Revision | None = None
    """Precondition: the current revision of the object, or (0, 0) for no object. Unset: no precondition."""


class DeleteQuestion(Struct, frozen=True, kw_only=True, tag="delete"):
    """Request to delete an object."""

    kind: Kind
    namespace: str
    name: str
    expected: Revision | None = None


AnyQuestion = PutQuestion | DeleteQuestion


class Accepted(Struct, frozen=True, kw_only=True, tag="accepted"):
    """The source now holds what was requested."""

    changed: bool
    """Whether that was a change, so that a new version will appear in the ledger."""


class Declined(Struct, frozen=True, kw_only=True, tag="declined"):
    """Nothing was changed."""

    status: int
    """The HTTP status that fits best: 400, 404, 409, 412, 422 or 503."""

    reason: str


AnyAnswer = Accepted | Declined
