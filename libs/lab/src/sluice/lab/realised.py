"""When a change is in force: every service that programs a node has applied it and reports no problem."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from sluice.contracts import subjects
from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.status import CompilerStatus, DocumentProblem, NodeStatus, Problem, SourceStatus
from sluice.contracts.subjects import StatusSubject
from sluice.lab.scenario import Reported

SOURCE = "folder"
"""The name of the object source in its status."""

AnyStatus = NodeStatus | SourceStatus | CompilerStatus


class Wanted(Struct, frozen=True, kw_only=True):
    """The state to wait for."""

    digest: str
    """Of the manifest folder."""

    ports: Mapping[NodeName, frozenset[str]]
    """For each node, the Pods that must have an open port; no other Pod may have one."""

    ignored: frozenset[str] = frozenset()
    """Manifests that are known to be bad."""

    problems: tuple[Reported, ...] = ()
    """Each must be reported by some service, and no others may be."""

    inspected: frozenset[NodeName] = frozenset()
    """Nodes that run an inspection engine."""

    guarded: frozenset[NodeName] = frozenset()
    """Nodes that run node-host."""


class Statuses:
    """The latest status of each service that has one."""

    def __init__(self) -> None:
        self.source: SourceStatus | None = None
        self.nodes: dict[NodeName, NodeStatus] = {}
        """Of node-ovs."""

        self.engines: dict[NodeName, NodeStatus] = {}
        """Of node-l7."""

        self.guards: dict[NodeName, NodeStatus] = {}
        """Of node-host."""

        self.compilers: dict[int, CompilerStatus] = {}

    def put(self, status: AnyStatus) -> None:
        match status:
            case SourceStatus():
                self.source = status
            case NodeStatus(backend="l7"):
                self.engines[status.node] = status
            case NodeStatus(backend="host"):
                self.guards[status.node] = status
            case NodeStatus():
                self.nodes[status.node] = status
            case CompilerStatus():
                self.compilers[status.shard] = status

    def missing(self, wanted: Wanted) -> list[str]:
        """Readable reasons why the state is not reached; empty if it is."""
        source = self.source
        if source is None or source.digest != wanted.digest:
            return ["ingest: it has not taken in the manifests as they are now"]
        found = [f"ingest: {problem.words()}" for problem in source.problems if problem.file not in wanted.ignored]
        for status in self.compilers.values():
            # A policy that is reported as not realizable with a reason known to its kind takes effect as specified: not
            # at all.
            found += [_words("rule-compiler", problem) for problem in status.problems if not problem.code]
        for node in wanted.ports:
            found += self._missing_on(node, source.upto, wanted)
        for node in sorted(wanted.inspected):
            found += _missing_of(f"node-l7 on {node}", self.engines.get(node), source.upto, wanted)
        for node in sorted(wanted.guarded):
            found += _missing_of(f"node-host on {node}", self.guards.get(node), source.upto, wanted)
        statuses = (*self.nodes.values(), *self.engines.values(), *self.guards.values())
        for each in wanted.problems:
            if not any(_is(each, status.node, problem) for status in statuses for problem in status.problems):
                found.append(f"{each.on or 'every node'}: no problem is told that says {each.message!r}")
        return found

    def problems(self) -> Sequence[DocumentProblem]:
        return self.source.problems if self.source else ()

    def _missing_on(self, node: NodeName, upto: Revision, wanted: Wanted) -> Iterable[str]:
        status, ports = self.nodes.get(node), wanted.ports[node]
        where = f"node-ovs on {node}"
        yield from _missing_of(where, status, upto, wanted)
        if status is None:
            return
        if closed := sorted(ports - set(status.ports)):
            yield f"{where}: the ports of {', '.join(closed)} are not open"
        if left := sorted(set(status.ports) - ports):
            yield f"{where}: the ports of {', '.join(left)} are still open"
        if waiting := sorted(set(status.waiting_ports) - ports):
            yield f"{where}: the ports of {', '.join(waiting)} wait, and no such Pod runs"
        yield from (f"{where}: {error}" for error in status.port_errors)


def _missing_of(where: str, status: NodeStatus | None, upto: Revision, wanted: Wanted) -> Iterator[str]:
    """The reasons why one service does not have everything in force."""
    if status is None:
        yield f"{where}: it has not reported yet"
        return
    if status.applied.epoch != upto.epoch or status.applied < upto:
        yield f"{where}: it has applied revision {status.applied.sequence}, not yet {upto.sequence}"
    if not status.healthy:
        yield f"{where}: not healthy: {status.detail or 'it does not say why'}"
    for problem in status.problems:
        if not any(_is(each, status.node, problem) for each in wanted.problems):
            yield _words(where, problem)


def kind_of(subject: str) -> type[AnyStatus] | None:
    """The type of status in messages of this subject, if it is one that we read."""
    match subjects.parse(subject):
        case StatusSubject(node="_source", backend=name) if name == SOURCE:
            return SourceStatus
        case StatusSubject(node="_compiler"):
            return CompilerStatus
        case StatusSubject(node=node, backend="ovs" | "l7" | "host") if not node.startswith("_"):
            return NodeStatus
        case _:
            return None


def _is(expected: Reported, node: NodeName, problem: Problem) -> bool:
    return expected.on in ("", node) and re.search(expected.message, problem.words()) is not None


def _words(where: str, problem: Problem) -> str:
    return f"{where}: {problem.state}: {problem.words()}"
