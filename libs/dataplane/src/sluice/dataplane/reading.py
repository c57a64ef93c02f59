"""The common half of every node programmer: it holds a view, and feeds it what arrives."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from sluice.contracts import subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import NEVER, Backend, GroupId, NodeName, Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.dataplane import unread
from sluice.dataplane.addresses import NotAnAddress, address
from sluice.dataplane.view import Interests, PageKey, ProgramKey, Step, View

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Reading:
    """The part of a fold that faces the bus; each backend handles the steps of the view in its own way."""

    def __init__(self, node: NodeName, backend: Backend) -> None:
        self._node, self._backend = node, backend
        self._view = View(node, backend)
        self.upto: Revision = NEVER
        """The fold reflects everything up to here."""

    @property
    def in_sync(self) -> bool:
        """Whether the fold reflects the bus; before that, it says nothing about the kernel or the engine."""
        return self.upto != NEVER

    @property
    def unread(self) -> tuple[Problem, ...]:
        """Problems of programs that cannot be decoded."""
        return tuple(sorted({unread.problem(unit, one) for (_, unit), one in self._view.unread.items()}))

    def take(self, subject: str, body: bytes, cause: Revision, now_s: float) -> None:
        """Take in a stored value.

        Raises:
            codec.Undecodable, subjects.BadSubject: nothing was changed, except possibly `unread`.
        """
        self._view.take(subject, body, cause, now_s)

    def answered(self, patterns: Iterable[str]) -> None:
        self._view.answered(patterns)

    def restarted(self) -> None:
        """A stream was recreated: read everything again. The fold's output stays until that is in sync."""
        self._view = View(self._node, self._backend)

    def interests(self) -> Interests:
        return self._view.interests()

    def next_deadline_s(self, now_s: float) -> float | None:
        return self._view.next_deadline_s(now_s)


class Given(Generic[K, V]):
    """The keys that a backend was given of one part of the steps."""

    def __init__(self) -> None:
        self._keys: set[K] = set()

    def changes(self, part: Mapping[K, V | None], *, whole: bool) -> Iterator[tuple[K, V | None]]:
        """What to give it next; None: take it back. With `whole`, the part is complete."""
        for key in self._keys - part.keys() if whole else ():
            self._keys.discard(key)
            yield key, None
        for key, value in part.items():
            if value is not None:
                self._keys.add(key)
                yield key, value
            elif key in self._keys:
                self._keys.discard(key)
                yield key, None


class Engine(Protocol):
    """What a backend makes of pages and programs, incrementally."""

    def put_page(self, page: Page, /) -> None: ...
    def drop_page(self, group: GroupId, node: NodeName, /) -> None: ...
    def put_program(self, program: Program, /) -> None: ...
    def drop_program(self, group: GroupId, unit: Unit, /) -> None: ...
    def problems(self) -> Iterable[Problem]: ...


E = TypeVar("E", bound=Engine)


class EngineReading(Reading, Generic[E]):
    """Gives an engine the pages and programs of steps, and reports what it cannot hold."""

    def __init__(self, node: NodeName, backend: Backend, engine: E) -> None:
        super().__init__(node, backend)
        self._engine = engine
        self._pages = Given[PageKey, Page]()
        self._programs = Given[ProgramKey, Program]()
        self._incomplete: tuple[Unit, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(sorted((*self._engine.problems(), *waiting(self._incomplete), *self.unread)))

    def _give(self, step: Step) -> None:
        """Bring the engine up to the step."""
        for (group, node), page in self._pages.changes(step.pages, whole=step.whole):
            if page is None:
                self._engine.drop_page(group, node)
            else:
                self._engine.put_page(page)
        for (group, unit), program in self._programs.changes(step.programs, whole=step.whole):
            if program is None:
                self._engine.drop_program(group, unit)
            else:
                self._engine.put_program(program)
        self._incomplete = step.incomplete
        self.upto = step.upto


def waiting(incomplete: Iterable[Unit]) -> list[Problem]:
    """Problems of programs whose peers are not all known yet."""
    return [
        Problem(
            unit=unit,
            state="waiting",
            reason=f"{unit}: the members of its peers are not read yet; if this lasts, check NATS",
        )
        for unit in incomplete
    ]


def strange(group: GroupId, member: Member, mend: str) -> Iterator[Problem]:
    """Problems of invalid addresses; `mend` is what their writer has to correct."""
    for text in member.addresses:
        try:
            address(text)
        except NotAnAddress as error:
            namespace, _, name = member.pod.partition("/")
            unit = subjects.unit(Kind.POD, namespace, name)
            reason = f"{unit} in group {group}: {error}, so nothing is allowed for it; correct {mend}"
            yield Problem(unit=unit, state="failed", reason=reason)
