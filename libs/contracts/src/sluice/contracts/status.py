"""STATUS: what each node has applied. Only units that wait or have failed are listed, each with the reason."""

from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts import codec
from sluice.contracts.ids import NEVER, Backend, NodeName, Revision, Unit

MOST_LETTERS = 4_000_000
"""Of all reasons in one status: a message that exceeds the bus's 8 MiB is refused, and the marks wait for it."""

SHORT = 200
"""Letters of a reason that are left if there are too many."""


class Problem(Struct, frozen=True, kw_only=True, order=True, omit_defaults=True):
    """A unit that is not in force as written. `reason` says where and what the problem is, why, and what to do."""

    unit: Unit
    state: Literal["waiting", "failed"]
    reason: str
    code: str = ""
    """Machine-readable reason, in the form of the `reason` of a Kubernetes condition; empty if it has no name."""

    def words(self) -> str:
        """The problem on one line, naming the unit once."""
        return self.reason if self.reason.startswith(self.unit) else f"{self.unit}: {self.reason}"


class NodeStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one backend of a node has applied (`status.<node>.<backend>`)."""

    node: NodeName
    backend: Backend
    applied: Revision
    """All programs and pages up to this OBJECTS revision are in the kernel, except for the problems below."""

    healthy: bool
    """The engine responds and holds what it was given."""

    detail: str = ""
    """Why the backend is not healthy."""

    ports: tuple[str, ...] = ()
    """Pods (namespace/name) whose port is open; sorted."""

    waiting_ports: tuple[str, ...] = ()
    """Pods (namespace/name) with a port that is still closed; sorted."""

    port_errors: tuple[str, ...] = ()
    """Reasons why ports of Pods are unusable."""

    problems: tuple[Problem, ...] = ()
    """Sorted by unit."""

    repairs: int = 0
    """How often drift from the desired kernel state was found and repaired, since the programmer started."""

    lifelines: tuple[str, ...] = ()
    """Traffic of the node itself that stays open whatever policies on Nodes say, in words."""


def read_status(node: NodeName, backend: str, body: bytes) -> NodeStatus | None:
    """Decode a message on `status.<node>.<backend>`; None for a backend that only another version has.

    A message that does not decode yields the status of an unhealthy backend that has applied nothing.
    """
    if backend not in get_args(Backend):
        return None
    try:
        return codec.decode(body, NodeStatus)
    except codec.Undecodable as error:
        detail = f"its status cannot be read by this version, which is older or newer: {error}"
        return NodeStatus(node=node, backend=backend, applied=NEVER, healthy=False, detail=detail)  # type: ignore[arg-type]  # checked above


class DocumentProblem(Struct, frozen=True, kw_only=True, order=True):
    """A document that was rejected. Objects from its previous version, if any, are kept."""

    file: str
    line: int
    path: str
    """JSON path of the offending field, such as $.spec.ingress[0].from[1]; $ for the whole document."""

    reason: str

    def words(self) -> str:
        """The problem on one line."""
        return f"{self.file}:{self.line}: {self.path}: {self.reason}"


class SourceStatus(Struct, frozen=True, kw_only=True):
    """What the source of objects could not read (`status._source.<name>`)."""

    source: str
    digest: str
    """Digest of the content last read: `sluice.kube.digest.folder_digest` for a folder, so that a reader can compare it
    with its own. Empty for Kubernetes."""

    upto: Revision
    """Everything that the digest covers is on LEDGER by this revision."""

    problems: tuple[DocumentProblem, ...]
    waiting: tuple[str, ...] = ()
    """What the source cannot read yet, in words: kinds that are not installed, or that it is not allowed to list."""


class CompilerStatus(Struct, frozen=True, kw_only=True):
    """Objects that could not be translated (`status._compiler.<shard>`)."""

    shard: int
    problems: tuple[Problem, ...]


def fitting(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The problems, with shorter reasons if they are too many for one message."""
    if sum(len(problem.reason) for problem in problems) <= MOST_LETTERS:
        return problems
    return tuple(replace(one, reason=f"{one.reason[:SHORT]}…") if len(one.reason) > SHORT else one for one in problems)
