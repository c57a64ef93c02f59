"""When a change is in force: every programmer of every node has applied it and has nothing to complain about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from sluice.contracts import subjects
from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.status import CompilerStatus, DocumentProblem, NodeStatus, Problem, SourceStatus
from sluice.contracts.subjects import StatusSubject

SOURCE = "folder"
"""The source of objects, as its status is called."""

AnyStatus = NodeStatus | SourceStatus | CompilerStatus


class Wanted(Struct, frozen=True, kw_only=True):
    """What has to be true."""

    digest: str
    """Of the manifest folder."""

    ports: Mapping[NodeName, frozenset[str]]
    """For each node the Pods that must have an open port, all others must have none."""

    ignored: frozenset[str] = frozenset()
    """Manifests that are known to be bad."""

    inspected: frozenset[NodeName] = frozenset()
    """Nodes that run an inspection engine."""


class Statuses:
    """The last status of everybody who has one."""

    def __init__(self) -> None:
        self.source: SourceStatus | None = None
        self.nodes: dict[NodeName, NodeStatus] = {}
        """Of node-ovs."""

        self.engines: dict[NodeName, NodeStatus] = {}
        """Of node-l7."""

        self.compilers: dict[int, CompilerStatus] = {}

    def put(self, status: AnyStatus) -> None:
        match status:
            case SourceStatus():
                self.source = status
            case NodeStatus(backend="l7"):
                self.engines[status.node] = status
            case NodeStatus():
                self.nodes[status.node] = status
            case CompilerStatus():
                self.compilers[status.shard] = status

    def missing(self, wanted: Wanted) -> list[str]:
        """What keeps it from being realised, for people; empty when nothing does."""
        source = self.source
        if source is None or source.digest != wanted.digest:
            return ["ingest: it has not taken in the manifests as they are now"]
        found = [f"ingest: {problem.words()}" for problem in source.problems if problem.file not in wanted.ignored]
        for status in self.compilers.values():
            # A policy that is not realizable, by a reason that its kind has a word for, has its effect: none.
            found += [_words("rule-compiler", problem) for problem in status.problems if not problem.code]
        for node in wanted.ports:
            found += self._missing_on(node, source.upto, wanted.ports[node])
        for node in sorted(wanted.inspected):
            found += _missing_of(f"node-l7 on {node}", self.engines.get(node), source.upto)
        return found

    def problems(self) -> Sequence[DocumentProblem]:
        return self.source.problems if self.source else ()

    def _missing_on(self, node: NodeName, upto: Revision, ports: frozenset[str]) -> Iterable[str]:
        status = self.nodes.get(node)
        where = f"node-ovs on {node}"
        yield from _missing_of(where, status, upto)
        if status is None:
            return
        if closed := sorted(ports - set(status.ports)):
            yield f"{where}: the ports of {', '.join(closed)} are not open"
        if left := sorted(set(status.ports) - ports):
            yield f"{where}: the ports of {', '.join(left)} are still open"
        if waiting := sorted(set(status.waiting_ports) - ports):
            yield f"{where}: the ports of {', '.join(waiting)} wait, and no such Pod runs"
        yield from (f"{where}: {error}" for error in status.port_errors)


def _missing_of(where: str, status: NodeStatus | None, upto: Revision) -> Iterator[str]:
    """What keeps a programmer from having all of it in force."""
    if status is None:
        yield f"{where}: it has not reported yet"
        return
    if status.applied.epoch != upto.epoch or status.applied < upto:
        yield f"{where}: it has applied revision {status.applied.sequence}, not yet {upto.sequence}"
    if not status.healthy:
        yield f"{where}: not healthy: {status.detail or 'it does not say why'}"
    yield from (_words(where, problem) for problem in status.problems)


def kind_of(subject: str) -> type[AnyStatus] | None:
    """What a message on the subject is, if it is a status that we read."""
    match subjects.parse(subject):
        case StatusSubject(node="_source", backend=name) if name == SOURCE:
            return SourceStatus
        case StatusSubject(node="_compiler"):
            return CompilerStatus
        case StatusSubject(node=node, backend="ovs" | "l7") if not node.startswith("_"):
            return NodeStatus
        case _:
            return None


def _words(where: str, problem: Problem) -> str:
    return f"{where}: {problem.state}: {problem.words()}"
