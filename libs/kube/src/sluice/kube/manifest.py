"""Parses a manifest file into objects: one entry for each document, in the order of the file.

Whatever is rejected becomes a problem with its line and path and does not affect the rest. Kinds unrelated to network
policy are named and skipped; a network policy of a kind that we do not enforce is a problem, since its author relies on
it.
"""

from collections.abc import Iterator
from functools import partial

import msgspec
from msgspec import Struct

from sluice.contracts import jsonpath
from sluice.contracts.kinds import BY_API, RESOURCES, Kind
from sluice.contracts.objects import TYPES, AnyObject
from sluice.contracts.status import DocumentProblem
from sluice.kube import antrea_config, json_text, yaml_text
from sluice.kube.convert import body_of, to_object, with_uid
from sluice.kube.nodes import MAX_DOCUMENT_BYTES, Entry, Malformed, Map, Node, Scalar, Sequence, is_null, line_at
from sluice.kube.scalars import text
from sluice.kube.schema import Finding, findings, read_part

MAX_OBJECT_BYTES = 1_500_000
"""Size limit of one message body: what the API server's store accepts (etcd, --max-request-bytes, 1.5 MB)."""

POLICY_GROUPS = frozenset(("crd.antrea.io", "k8s.cni.cncf.io", "policy.networking.k8s.io"))
"""API groups whose objects affect network policy."""


class Document(Struct, frozen=True, kw_only=True):
    """An object in a file. It has the right shape; admission decides whether it makes sense."""

    file: str
    line: int
    path: str
    """Path of the object in its document: $, or $.items[3] in a list."""

    kind: Kind
    object: AnyObject
    body: bytes
    """The message body on LEDGER."""

    node: Node
    """As written; of kinds that are trimmed, the fields that we read, which of a Pod is a fifth."""

    def problem(self, path: str, reason: str) -> DocumentProblem:
        """A problem with a field of the object; `path` is relative to the object."""
        line = line_at(self.node, jsonpath.steps(path))
        return DocumentProblem(file=self.file, line=line, path=self.path + path[len(jsonpath.ROOT) :], reason=reason)

    def identified(self, uid: str) -> "Document":
        """The same object with this uid."""
        made = with_uid(self.object, uid)
        return msgspec.structs.replace(self, object=made, body=body_of(self.kind, made, self.node))


class Ignored(Struct, frozen=True, kw_only=True):
    """A document of a kind that has nothing to do with network policy."""

    file: str
    line: int
    api_version: str
    kind: str
    hints: tuple[str, ...] = ()
    """If it configures the same features in another product: what its settings mean in Sluice; see `antrea_config`."""


class Unsupported(DocumentProblem, frozen=True, kw_only=True):
    """A policy of a kind that is not enforced here. Unlike other problems it says nothing about the file's contents."""


Parsed = Document | DocumentProblem | Ignored


def parse(source: str | bytes, file: str) -> list[Parsed]:
    """The contents of the file. Never raises; `file` names it in messages, and the suffix `.json` selects JSON."""
    problem = partial(DocumentProblem, file=file, path=jsonpath.ROOT)
    if len(source) > MAX_DOCUMENT_BYTES:
        return [problem(line=1, reason=f"larger than {MAX_DOCUMENT_BYTES >> 20} MiB; split it into several files")]
    try:
        written = source.decode() if isinstance(source, bytes) else source
        written.encode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        reason = f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
        return [problem(line=line, reason=reason)]
    except UnicodeEncodeError as error:
        line = error.object.count("\n", 0, error.start) + 1
        return [problem(line=line, reason=f"{error.object[error.start]!a} is half a character; save the file as UTF-8")]
    written = written.removeprefix("\N{BYTE ORDER MARK}")
    found: list[Parsed] = []
    pieces = (
        [partial(json_text.documents, written)]
        if file.endswith(".json")
        else [partial(yaml_text.documents, chunk) for chunk in yaml_text.chunks(written)]
    )
    for piece in pieces:
        try:
            for node in piece():
                found += _objects(node, file, jsonpath.ROOT)
        except Malformed as error:
            found.append(problem(line=error.line, reason=error.reason))
    return found


def _objects(node: Node, file: str, path: str) -> Iterator[Parsed]:
    """The node as an object, or as the objects of a list."""
    if is_null(node):
        return
    problem = partial(_problem, file, path)
    if not isinstance(node, Map):
        yield problem(Finding(node.line, jsonpath.ROOT, "not an object; one begins with apiVersion, kind and metadata"))
        return
    names = [_name(node, field) for field in ("apiVersion", "kind")]
    if wrong := [name for name in names if isinstance(name, Finding)]:
        yield from map(problem, wrong)
        return
    api_version, kind_name = map(str, names)
    item_kind = kind_name.removesuffix("List")
    if item_kind != kind_name and ((api_version, item_kind) in BY_API or (api_version, item_kind) == ("v1", "")):
        items = node.entries.get("items")
        if items is None or not isinstance(items.node, Sequence):
            yield problem(Finding(node.line, "$.items", "missing; a List has its objects here, [] if there are none"))
            return
        for index, item in enumerate(items.node.items):
            of_list = _with_defaults(item, api_version, item_kind) if item_kind else item
            yield from _objects(of_list, file, jsonpath.item(f"{path}.items", index))
        return
    kind = BY_API.get((api_version, kind_name))
    if kind is None:
        yield _foreign(node, file, path, api_version, kind_name)
        return
    yield from _object(node, kind, file, path)


def _with_defaults(item: Node, api_version: str, kind: str) -> Node:
    """The item of a typed list, with the kind filled in: the API server leaves it out of the items."""
    if not isinstance(item, Map):
        return item
    named = (("apiVersion", api_version), ("kind", kind))
    return Map(item.line, {**{key: Entry(item.line, text(item.line, value)) for key, value in named}, **item.entries})


def object_of(node: Map, kind: Kind, file: str) -> list[Document | DocumentProblem]:
    """The node as an object of this kind, or all problems that prevent it."""
    return list(_object(node, kind, file, jsonpath.ROOT))


def _object(node: Map, kind: Kind, file: str, path: str) -> Iterator[Document | DocumentProblem]:
    whole = RESOURCES[kind].written
    made_of = node if whole else read_part(node, TYPES[kind])
    if wrong := findings(made_of, TYPES[kind], strict=whole):
        yield from (_problem(file, path, finding) for finding in wrong)
        return
    try:
        made = to_object(kind, made_of)
    except msgspec.ValidationError as error:
        yield _problem(file, path, Finding(node.line, jsonpath.ROOT, f"not a {RESOURCES[kind].kind}: {error}"))
        return
    body = body_of(kind, made, made_of)
    if len(body) > MAX_OBJECT_BYTES:
        reason = f"{len(body)} bytes, and Kubernetes takes {MAX_OBJECT_BYTES}; split it"
        yield _problem(file, path, Finding(node.line, jsonpath.ROOT, reason))
        return
    yield Document(file=file, line=node.line, path=path, kind=kind, object=made, body=body, node=made_of)


def _foreign(node: Map, file: str, path: str, api_version: str, kind: str) -> Ignored | Unsupported:
    family = _family(api_version)
    supported = [
        one.api_version for one in RESOURCES.values() if (_family(one.api_version), one.kind) == (family, kind)
    ]
    for one in RESOURCES.values():
        if _family(one.api_version) == family and kind.lower() in (one.kind.lower(), one.plural) and kind != one.kind:
            reason = f"there is no kind {kind}, so nothing would enforce it; write {one.kind}"
            return Unsupported(file=file, line=node.line, path=jsonpath.field(path, "kind"), reason=reason)
    if family not in POLICY_GROUPS and not kind.endswith("NetworkPolicy") and not supported:
        hints = antrea_config.hints(node) if (api_version, kind) == ("v1", "ConfigMap") else ()
        return Ignored(file=file, line=node.line, api_version=api_version, kind=kind, hints=hints)
    mend = f"write apiVersion: {supported[0]}" if supported else "remove it, or enforce it elsewhere"
    reason = f"{kind} of {api_version} is not supported yet, so nothing would enforce it; {mend}"
    return Unsupported(file=file, line=node.line, path=jsonpath.field(path, "kind"), reason=reason)


def _family(api_version: str) -> str:
    """The API group, if it affects policy; all groups of Kubernetes itself count as one."""
    group, _, _ = api_version.rpartition("/")
    own = "." not in group or (group.endswith(".k8s.io") and group not in POLICY_GROUPS)
    return "k8s.io" if own else group


def _name(node: Map, field: str) -> str | Finding:
    """The text of `apiVersion` or `kind`."""
    entry = node.entries.get(field)
    if entry is None or is_null(entry.node):
        return Finding(node.line, f"$.{field}", "missing; every object has apiVersion and kind")
    if not isinstance(entry.node, Scalar) or not isinstance(entry.node.value, str) or not entry.node.value:
        return Finding(entry.line, f"$.{field}", "not a text; quote it")
    return entry.node.value


def _problem(file: str, path: str, finding: Finding) -> DocumentProblem:
    return DocumentProblem(
        file=file, line=finding.line, path=path + finding.path[len(jsonpath.ROOT) :], reason=finding.reason
    )
