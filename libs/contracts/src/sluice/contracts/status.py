"""STATUS: what a node has applied; and of units, only those that wait or fail, each with the reason."""

from typing import Literal, get_args

from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.ids import NEVER, Backend, NodeName, Revision, Unit


class Problem(Struct, frozen=True, kw_only=True, order=True, omit_defaults=True):
    """A unit that is not in force as written. `reason` says where, what, why and what to do."""

    unit: Unit
    state: Literal["waiting", "failed"]
    reason: str
    code: str = ""
    """The reason for programs, in the form of a Kubernetes condition's, where it has a name."""

    def words(self) -> str:
        """As one line, with the unit named once."""
        return self.reason if self.reason.startswith(self.unit) else f"{self.unit}: {self.reason}"


class NodeStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one backend of a node has applied (`status.<node>.<backend>`)."""

    node: NodeName
    backend: Backend
    applied: Revision
    """All programs and pages up to this OBJECTS revision are in the kernel, but for the problems below."""

    healthy: bool
    """The engine answers and holds what we gave it."""

    detail: str = ""
    """Why it is not healthy."""

    ports: tuple[str, ...] = ()
    """Pods (namespace/name) whose port is open; sorted."""

    waiting_ports: tuple[str, ...] = ()
    """Pods that have a port which is still closed; sorted."""

    port_errors: tuple[str, ...] = ()
    """Why ports of Pods are unusable."""

    problems: tuple[Problem, ...] = ()
    """Sorted by unit."""

    repairs: int = 0
    """How often the kernel held something else than what it was given and was put right, since the programmer began."""

    lifelines: tuple[str, ...] = ()
    """What of a node itself passes whatever policies on Nodes say, in words."""


def read_status(node: NodeName, backend: str, body: bytes) -> NodeStatus | None:
    """What a message on `status.<node>.<backend>` says; None for a backend that only another version has.

    One that cannot be read stands for a backend of which nothing is known to be in force.
    """
    if backend not in get_args(Backend):
        return None
    try:
        return codec.decode(body, NodeStatus)
    except codec.Undecodable as error:
        detail = f"its status cannot be read by this version, which is older or newer: {error}"
        return NodeStatus(node=node, backend=backend, applied=NEVER, healthy=False, detail=detail)  # type: ignore[arg-type]  # it is one of them


class DocumentProblem(Struct, frozen=True, kw_only=True, order=True):
    """A document that was not taken in. The objects it held before, if any, stay."""

    file: str
    line: int
    path: str
    """JSON path of the offending field, as $.spec.ingress[0].from[1]; $ for the document."""

    reason: str

    def words(self) -> str:
        """As one line."""
        return f"{self.file}:{self.line}: {self.path}: {self.reason}"


class SourceStatus(Struct, frozen=True, kw_only=True):
    """What the source of objects could not take in (`status._source.<name>`)."""

    source: str
    digest: str
    """Of what was last read: `sluice.kube.folder_digest` for a folder; a reader compares it with its own. Empty for
    Kubernetes."""

    upto: Revision
    """All that the digest stands for is on LEDGER up to this revision."""

    problems: tuple[DocumentProblem, ...]
    waiting: tuple[str, ...] = ()
    """What the source would read and cannot yet, in words: kinds that are not installed, or that it may not list."""


class CompilerStatus(Struct, frozen=True, kw_only=True):
    """Objects that could not be translated (`status._compiler.<shard>`)."""

    shard: int
    problems: tuple[Problem, ...]
