"""The parts of a running lab: programs, their supervisors, and the lab's own tasks."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path

from sluice.lab.processes import Program, Supervised


class Running:
    def __init__(self, folder: Path) -> None:
        """`folder` is for the logs of what is not one of our programs."""
        self._folder = folder
        self.programs: dict[str, Program] = {}
        self.supervised: dict[str, Supervised] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.trouble: BaseException | None = None
        """An error of ours that ended a task."""

        self.changed = asyncio.Event()
        """Set on trouble, and on anything else that waiters have to check."""

    async def start(self, name: str, program: Program) -> None:
        """Start the program, and restart it whenever it ends."""
        await program.start()
        self.programs[name] = program
        self.supervise(Supervised(name, program.start, program.ended))

    def supervise(self, supervised: Supervised) -> None:
        """Restart it whenever it ends."""
        self.supervised[supervised.name] = supervised
        self.spawn(supervised.run(), supervised.name)

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        """A task ends when it is cancelled, or by an error of ours: that ends the next wait for anything."""
        if not task.cancelled() and (error := task.exception()):
            self.trouble = error
            self.changed.set()

    async def let_go(self) -> None:
        """Stop all supervisors and tasks. Programs run on until they are ended."""
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def ended(self) -> None:
        """Return when no program is running."""
        for program in self.programs.values():
            await program.ended()

    def failing(self) -> list[str]:
        """What was restarted just now, with the end of its log."""
        return [
            f"{name} ends again and again ({each.restarts} times): {self._last_words(name)}"
            for name, each in self.supervised.items()
            if each.failing
        ]

    def _last_words(self, name: str) -> str:
        return self.programs[name].last_words() if name in self.programs else f"see {self._folder}"
