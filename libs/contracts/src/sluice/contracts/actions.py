"""ACTIONS: the changes that people make through the API, and the request by which query-api asks ingest to make them.

Every change is recorded twice: before it is attempted, and when it was made or refused. So there is no change without
a record of who asked for it.
"""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind


class Action(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody changes an object (`actions.<replica>`)."""

    id: str
    """The same in all that is told of one action."""

    at_ns: int
    """When this became so, nanoseconds since 1970."""

    state: Literal["asked", "done", "refused", "unknown"]
    """Unknown: nobody answered whether it was done."""

    verb: Literal["put", "delete"]
    kind: Kind
    namespace: str = ""
    name: str
    who: str
    """The name of the token, or the common name of the certificate."""

    by: Literal["token", "certificate", "loopback"]
    address: str = ""
    """Where it was asked from."""

    reason: str = ""
    """What whoever asked gave as his reason."""

    before: Revision | None = None
    """Of the object, as the API knew it when it was asked; unset: there was none."""

    after: Revision | None = None
    """Of the object once it was done; unset for one that is gone, and where that was not seen in time."""

    says: str = ""
    """Why it was refused."""


class PutQuestion(Struct, frozen=True, kw_only=True, tag="put"):
    """The object shall be this."""

    kind: Kind
    namespace: str
    name: str
    body: bytes
    """JSON."""

    expected: Revision | None = None
    """Of the object now; (0, 0): there is none. Unset: whatever it is."""


class DeleteQuestion(Struct, frozen=True, kw_only=True, tag="delete"):
    """The object shall not be."""

    kind: Kind
    namespace: str
    name: str
    expected: Revision | None = None


AnyQuestion = PutQuestion | DeleteQuestion


class Accepted(Struct, frozen=True, kw_only=True, tag="accepted"):
    """The source says so now."""

    changed: bool
    """It did not say so already: the ledger will have another version."""


class Declined(Struct, frozen=True, kw_only=True, tag="declined"):
    """Nothing was changed."""

    status: int
    """Of HTTP, that says best why: 404, 409, 412, 422, 503."""

    reason: str


AnyAnswer = Accepted | Declined
