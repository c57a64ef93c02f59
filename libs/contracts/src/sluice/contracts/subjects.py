"""Builds and parses all NATS subjects.

Within a token, `.` is written `_`. Kubernetes names contain no `_`, so this is reversible. The namespace token of a
cluster-scoped object is `_`, and tokens that we define ourselves begin with `_`.
"""

from typing import NamedTuple

from sluice.contracts.ids import Backend, GroupId, NodeName, Unit
from sluice.contracts.kinds import Kind

LIVE = "live."
"""Stored messages of GROUPS, PROGRAMS and MULTICAST are republished under this prefix."""


class BadSubject(ValueError):
    """The subject is not one of Sluice's."""


class ObjectSubject(NamedTuple):
    kind: Kind
    namespace: str
    name: str


class ListedSubject(NamedTuple):
    kind: Kind


class PageSubject(NamedTuple):
    group: GroupId
    node: NodeName


class OwnSubject(NamedTuple):
    node: NodeName
    shard: int


class LocalSubject(NamedTuple):
    node: NodeName


class RouteSubject(NamedTuple):
    node: NodeName


class GroupMarkSubject(NamedTuple):
    shard: int


class ProgramSubject(NamedTuple):
    backend: str
    group: GroupId
    unit: Unit


class ProgramMarkSubject(NamedTuple):
    backend: str
    shard: int


class StatusSubject(NamedTuple):
    node: str
    backend: str


class StatsSubject(NamedTuple):
    node: NodeName
    backend: str


class AuditSubject(NamedTuple):
    node: NodeName
    log: str


class CheckpointSubject(NamedTuple):
    epoch: int
    last: int


class StatePartSubject(NamedTuple):
    epoch: int
    last: int
    part: int


class ActionSubject(NamedTuple):
    writer: str


Subject = (
    ObjectSubject
    | ListedSubject
    | PageSubject
    | OwnSubject
    | LocalSubject
    | RouteSubject
    | GroupMarkSubject
    | ProgramSubject
    | ProgramMarkSubject
    | StatusSubject
    | StatsSubject
    | AuditSubject
    | CheckpointSubject
    | StatePartSubject
    | ActionSubject
)


def token(name: str) -> str:
    """The name as a single subject token; an empty name becomes `_`."""
    return name.replace(".", "_") or "_"


def name(subject_token: str) -> str:
    """The inverse of `token`."""
    return "" if subject_token == "_" else subject_token.replace("_", ".")


def unit(kind: Kind, namespace: str, object_name: str) -> Unit:
    """The unit of an object. None of its three parts can contain `:`, so `unit_parts` is an exact inverse."""
    return Unit(f"{kind}:{namespace or '_'}:{object_name}")


def unit_parts(a_unit: Unit) -> tuple[Kind, str, str]:
    kind, namespace, object_name = a_unit.split(":")
    return Kind(kind), "" if namespace == "_" else namespace, object_name


def _unit_token(a_unit: Unit) -> str:
    kind, namespace, object_name = a_unit.split(":")
    return f"{kind}:{token(namespace)}:{token(object_name)}"


def _token_unit(subject_token: str) -> Unit:
    kind, namespace, object_name = subject_token.split(":")
    return unit(Kind(kind), name(namespace), name(object_name))


def object_(kind: Kind, namespace: str, object_name: str) -> str:
    return f"objects.{kind}.{token(namespace)}.{token(object_name)}"


def listed(kind: Kind) -> str:
    return f"objects._listed.{kind}"


def page(group: GroupId, node: NodeName) -> str:
    return f"groups.{group}.{token(node)}"


def pages(group: GroupId) -> str:
    """Pattern of all pages of a group."""
    return f"groups.{group}.*"


def own(node: NodeName, shard: int) -> str:
    return f"groups._own.{token(node)}.{shard}"


def owns(node: NodeName) -> str:
    """Pattern of the lists, one per shard, of the groups on the node."""
    return f"groups._own.{token(node)}.*"


def local(node: NodeName) -> str:
    return f"groups._local.{token(node)}"


def route(node: NodeName) -> str:
    return f"groups._route.{token(node)}"


ROUTES = "groups._route.*"


def group_mark(shard: int) -> str:
    return f"groups._mark.{shard}"


GROUP_MARKS = "groups._mark.*"


def program(backend: Backend, group: GroupId, a_unit: Unit) -> str:
    return f"programs.{backend}.{group}.{_unit_token(a_unit)}"


def programs(backend: Backend, group: GroupId) -> str:
    """Pattern of all programs of a backend that are addressed to a group."""
    return f"programs.{backend}.{group}.*"


def program_mark(backend: Backend, shard: int) -> str:
    return f"programs._mark.{backend}.{shard}"


def program_marks(backend: Backend) -> str:
    return f"programs._mark.{backend}.*"


def status(node: NodeName, backend: Backend) -> str:
    return f"status.{token(node)}.{backend}"


def source_status(source_name: str) -> str:
    return f"status._source.{token(source_name)}"


def compiler_status(shard: int) -> str:
    return f"status._compiler.{shard}"


def stats(node: NodeName, backend: Backend) -> str:
    return f"stats.{token(node)}.{backend}"


def audit(node: NodeName, log: str) -> str:
    return f"audit.{token(node)}.{log}"


def checkpoint(epoch: int, last: int) -> str:
    return f"ledger._checkpoint.{epoch}.{last}"


CHECKPOINTS = "ledger._checkpoint.>"


def state_part(epoch: int, last: int, part: int) -> str:
    return f"ledger._state.{epoch}.{last}.{part}"


def action(writer: str) -> str:
    """Where this replica of query-api records the changes that people make."""
    return f"actions.{token(writer)}"


WRITE = "_sluice.write"
"""Requests to ingest to change an object at its source; not stored."""


def trace(node: NodeName) -> str:
    """Requests to the node to trace a packet; not stored."""
    return f"_sluice.trace.{token(node)}"


def explain(node: NodeName, backend: Backend) -> str:
    """Requests to the node to explain what one of its backends holds; not stored."""
    return f"_sluice.explain.{token(node)}.{backend}"


def explains(node: NodeName) -> str:
    """Pattern of `explain` for all backends of the node."""
    return f"_sluice.explain.{token(node)}.*"


def multicast(node: NodeName) -> str:
    """Where the node publishes the multicast groups that its Pods have joined; other nodes receive it live."""
    return f"multicast.{token(node)}"


MULTICASTS = "multicast.*"


def health(service: str) -> str:
    """Requests to a service for its readiness; not stored."""
    return f"_sluice.health.{service}"


def live(subject: str) -> str:
    """The subject (or pattern) under which stored messages are republished."""
    return LIVE + subject


def stored(subject: str) -> str:
    """The inverse of `live`: the subject in the stream."""
    return subject.removeprefix(LIVE)


def known(subject: str) -> Subject | None:
    """What the subject names; None if unknown: another version made it, and is responsible for removing it."""
    try:
        return parse(subject)
    except BadSubject:
        return None


def parse(subject: str) -> Subject:
    """What the subject names.

    Raises:
        BadSubject: it is not one of Sluice's; the message contains it.
    """
    try:
        match subject.split("."):
            case ["objects", "_listed", kind]:
                return ListedSubject(Kind(kind))
            case ["objects", kind, namespace, object_name]:
                return ObjectSubject(Kind(kind), name(namespace), name(object_name))
            case ["groups", "_own", node, shard]:
                return OwnSubject(NodeName(name(node)), int(shard))
            case ["groups", "_local", node]:
                return LocalSubject(NodeName(name(node)))
            case ["groups", "_route", node]:
                return RouteSubject(NodeName(name(node)))
            case ["groups", "_mark", shard]:
                return GroupMarkSubject(int(shard))
            case ["groups", group, node] if not group.startswith("_") or group == "_all":
                return PageSubject(GroupId(group), NodeName(name(node)))
            case ["programs", "_mark", backend, shard]:
                return ProgramMarkSubject(backend, int(shard))
            case ["programs", backend, group, a_unit] if not backend.startswith("_"):
                return ProgramSubject(backend, GroupId(group), _token_unit(a_unit))
            case ["status", node, backend]:
                return StatusSubject(node if node.startswith("_") else name(node), backend)
            case ["stats", node, backend]:
                return StatsSubject(NodeName(name(node)), backend)
            case ["audit", node, log]:
                return AuditSubject(NodeName(name(node)), log)
            case ["ledger", "_checkpoint", epoch, last]:
                return CheckpointSubject(int(epoch), int(last))
            case ["ledger", "_state", epoch, last, part]:
                return StatePartSubject(int(epoch), int(last), int(part))
            case ["actions", writer]:
                return ActionSubject(name(writer))
            case _:
                pass
    except ValueError as error:
        raise BadSubject(f"{subject}: not a subject of Sluice: {error}") from error
    raise BadSubject(f"{subject}: not a subject of Sluice; docs/architecture.md lists them")
