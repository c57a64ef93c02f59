"""AdmissionReview of admission.k8s.io/v1: the API server's request, and the response.

Source: Kubernetes, k8s.io/api/admission/v1 types.go, and docs "Dynamic Admission Control".
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct

VERSIONS = frozenset(("admission.k8s.io/v1", "admission.k8s.io/v1beta1"))
"""They are identical in everything used here."""

NOTHING = Raw(b"null")

MAX_WARNING = 256
"""Maximum length of a warning; the API server cuts longer ones if there are many. Source: docs, "Response"."""


class Malformed(ValueError):
    """The body is not a valid AdmissionReview; the message says why."""


class GroupVersionKind(Struct, frozen=True):
    kind: str
    group: str = ""
    version: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


class Request(Struct, frozen=True, kw_only=True, rename="camel"):
    uid: str
    kind: GroupVersionKind
    operation: Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    object: Raw = NOTHING
    old_object: Raw = NOTHING


class Review(Struct, frozen=True, kw_only=True, rename="camel"):
    api_version: str
    kind: Literal["AdmissionReview"]
    request: Request


class Cause(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One error, as shown by kubectl and other clients."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class Details(Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    group: str
    causes: Sequence[Cause]


class Status(Struct, frozen=True, kw_only=True, omit_defaults=True):
    message: str
    reason: str
    code: int
    details: Details | None = None


class Response(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    uid: str
    allowed: bool
    status: Status | None = None
    warnings: tuple[str, ...] = ()
    patch_type: Literal["JSONPatch", ""] = ""
    patch: str = ""
    """JSON, in base64."""


class _Answer(Struct, frozen=True, kw_only=True, rename="camel"):
    api_version: str
    kind: str
    response: Response


def parse(body: bytes) -> Review:
    """Decode the request.

    Raises:
        Malformed
    """
    try:
        review = msgspec.json.decode(body, type=Review)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not an AdmissionReview: {error}; the API server sends one as JSON") from error
    if review.api_version not in VERSIONS:
        wanted = " or ".join(sorted(VERSIONS))
        raise Malformed(f"an AdmissionReview of {review.api_version}; configure the webhook for {wanted}")
    return review


def answer(review: Review, response: Response) -> bytes:
    """The response body, in the API version of the request."""
    return msgspec.json.encode(_Answer(api_version=review.api_version, kind=review.kind, response=response))


def patched(request: Request, operations: Sequence[object] = ()) -> Response:
    """Admitted, and changed by these JSON Patch operations."""
    if not operations:
        return Response(uid=request.uid, allowed=True)
    patch = b64encode(msgspec.json.encode(operations)).decode()
    return Response(uid=request.uid, allowed=True, patch_type="JSONPatch", patch=patch)
