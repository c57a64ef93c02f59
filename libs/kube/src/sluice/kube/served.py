"""Converts an object as an API server serves it into a message body.

Trimmed kinds are numerous and changed by machines: they are decoded directly. What people write is read as strictly as
a manifest, since a field that we do not know, or do not support yet, may restrict what is allowed. A policy of
Kubernetes with problems travels all the same: whoever reads it closes what it does not know (`known_part`), whereas
without the policy its Pods would be open.
"""

import msgspec
from msgspec import Struct

from sluice.contracts import codec, jsonpath
from sluice.contracts.kinds import RESOURCES, SELF_CONTAINED, Kind
from sluice.contracts.objects import TYPES, AnyObject
from sluice.contracts.status import DocumentProblem
from sluice.kube import json_text
from sluice.kube.convert import known_part_of, normalised, trimmed
from sluice.kube.manifest import MAX_OBJECT_BYTES, Document, object_of
from sluice.kube.nodes import Malformed, Map


class Served(Struct, frozen=True):
    object: AnyObject
    body: bytes
    """The message body on LEDGER."""

    problems: tuple[DocumentProblem, ...] = ()
    """Why it is not in force as written."""


class _Meta(Struct):
    name: str
    namespace: str = ""


class _Head(Struct):
    metadata: _Meta


_heads = msgspec.json.Decoder(_Head)


def name_of(body: bytes) -> tuple[str, str] | None:
    """Namespace and name, if the object has them, whatever the rest looks like."""
    try:
        meta = codec.deeply(_heads.decode, body).metadata
    except msgspec.MsgspecError:
        return None
    return meta.namespace, meta.name


def served(kind: Kind, body: bytes, place: str) -> Served | tuple[DocumentProblem, ...]:
    """The object, or all problems that prevent it; never raises. `place` says where it is, instead of a file."""
    if RESOURCES[kind].written:
        return _whole(kind, body, place)
    try:
        made = trimmed(normalised(kind, codec.decode(body, TYPES[kind])))
    except codec.Undecodable as error:
        return (DocumentProblem(file=place, line=0, path=jsonpath.ROOT, reason=str(error)),)
    return Served(made, codec.encode(made))


def _known_part(kind: Kind, node: Map) -> tuple[AnyObject, bytes] | None:
    try:
        made, body = known_part_of(kind, node)
    except msgspec.ValidationError:
        return None
    return (made, body) if len(body) <= MAX_OBJECT_BYTES else None


def _whole(kind: Kind, body: bytes, place: str) -> Served | tuple[DocumentProblem, ...]:
    problems: list[DocumentProblem] = []
    try:
        for node in json_text.documents(body.decode()):
            if not isinstance(node, Map):
                raise Malformed(1, "not an object")
            for found in object_of(node, kind, place):
                match found:
                    case Document():
                        return Served(found.object, found.body)
                    case DocumentProblem():
                        problems.append(msgspec.structs.replace(found, line=0))
            if kind in SELF_CONTAINED and (known := _known_part(kind, node)):
                return Served(*known, tuple(problems))
    except (Malformed, UnicodeDecodeError) as error:
        problems.append(DocumentProblem(file=place, line=0, path=jsonpath.ROOT, reason=str(error)))
    return tuple(problems) or (DocumentProblem(file=place, line=0, path=jsonpath.ROOT, reason="nothing"),)
