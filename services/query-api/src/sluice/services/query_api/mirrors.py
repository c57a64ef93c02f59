"""Read models: the current contents of the streams, in memory. A restart replays them."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import NamedTuple

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NEVER, Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.streams import OBJECTS
from sluice.grouping.events import ObjectEvent, ObjectKey, read
from sluice.policy.realisation.answer import Answer, answer
from sluice.policy.realisation.fold import Realisation
from sluice.policy.realisation.report import Warned
from sluice.policy.state import ClusterState
from sluice.runtime import linting
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.runtime.realising import realisations


class Version(NamedTuple):
    """The last value of a subject."""

    revision: Revision
    time_ns: int
    body: bytes


class Mirror:
    """The last value of each subject of a stream, without tombstones."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus, self._stream = bus, stream
        self.values: dict[str, Version] = {}
        self.upto = NEVER
        """The stream was read up to here."""

        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Never returns."""
        async with follow(self._bus, self._stream) as events:
            async for event in events:
                match event:
                    case Message():
                        self.upto = max(self.upto, event.revision)
                        self._take(event)
                    case CaughtUp(upto):
                        self.upto = max(self.upto, upto)
                        self.caught_up.set()
                    case NewEpoch():
                        self.caught_up.clear()
                        self.upto = NEVER
                        self._forget()

    def below(self, prefix: str) -> Iterator[tuple[str, Version]]:
        """Values whose subject starts with the prefix, ordered by subject."""
        return iter(sorted((subject, one) for subject, one in self.values.items() if subject.startswith(prefix)))

    def _take(self, message: Message) -> None:
        if message.body:
            self.values[message.subject] = Version(message.revision, message.time_ns, message.body)
        else:
            self.values.pop(message.subject, None)

    def _forget(self) -> None:
        self.values.clear()


class Objects(Mirror):
    """OBJECTS, and the cluster state folded from it."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, OBJECTS.name)
        self.cluster = ClusterState()
        self.unreadable: dict[ObjectKey, str] = {}
        """Objects whose newest version does not decode, and why; the cluster state has the previous version."""

    @property
    def in_sync(self) -> bool:
        """All kinds were listed: what was not reported does not exist."""
        return self.caught_up.is_set() and all(subjects.listed(kind) in self.values for kind in Kind)

    def _take(self, message: Message) -> None:
        super()._take(message)
        event = self._event(message)
        if event is not None:
            self.cluster.evolve(event)

    def _event(self, message: Message) -> ObjectEvent | None:
        try:
            subject = subjects.parse(message.subject)
        except subjects.BadSubject as error:
            self._bus.rejects.add(message, str(error))
            return None
        if not isinstance(subject, subjects.ObjectSubject):
            return None
        key = ObjectKey(*subject)
        self.unreadable.pop(key, None)
        try:
            return read(subject, message.body, message.revision)
        except codec.Undecodable as error:
            self._bus.rejects.add(message, str(error))
            self.unreadable[key] = str(error)
            return None

    def _forget(self) -> None:
        super()._forget()
        self.cluster = ClusterState()
        self.unreadable.clear()


class Board:
    """All read models of one replica."""

    def __init__(self, bus: Bus, lint_interval_s: float, lint_most_rules: int) -> None:
        self._lint_interval_s, self._lint_most_rules = lint_interval_s, lint_most_rules
        self._warned: Mapping[Unit, Warned] = {}
        self.objects = Objects(bus)
        self.groups = Mirror(bus, "GROUPS")
        self.programs = Mirror(bus, "PROGRAMS")
        self.status = Mirror(bus, "STATUS")
        self._bus = bus
        self._fold: Realisation | None = None

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as tasks:
            for name, mirror in self.mirrors.items():
                tasks.create_task(mirror.run(), name=name)
            tasks.create_task(self._realise(), name="realisation")
            if self._lint_interval_s:
                tasks.create_task(self._lint(), name="lint")

    def realised(self, key: ObjectKey) -> Answer | None:
        """How far a policy is in force; None if that is not known yet."""
        return answer(self._fold, key) if self._fold else None

    def warning(self, unit: Unit) -> str:
        """The lint warning about a policy or a TrafficControl, as of the last run; empty if there is none."""
        found = self._warned.get(unit)
        return found.message if found is not None else ""

    async def _lint(self) -> None:
        async with aclosing(linting.warned(self._bus, self._lint_interval_s, self._lint_most_rules)) as tellings:
            async for found in tellings:
                self._warned = found

    async def _realise(self) -> None:
        async with aclosing(realisations(self._bus)) as tellings:
            async for fold in tellings:
                self._fold = fold

    @property
    def mirrors(self) -> Mapping[str, Mirror]:
        return {"objects": self.objects, "groups": self.groups, "programs": self.programs, "status": self.status}
