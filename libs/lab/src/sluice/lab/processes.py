"""Supervised programs: restarted when they end, each with a log of its own."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog

from sluice.lab.ovs import OvsFailed
from sluice.runtime.natsserver import ServerFailed

log = structlog.get_logger()

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""Longest pause before a restart: the pause doubles each time, and is reset once the program has lived a while."""

SETTLED_S = 10.0
"""A program that lived this long is not considered to fail at its start."""


class Supervised:
    """Something that has to run. `start` starts it; `ended` returns when it is not running, at once if it never was."""

    def __init__(self, name: str, start: Callable[[], Awaitable[None]], ended: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.restarts = 0
        self.failing = False
        """It ended soon after its last start."""

        self._start, self._ended = start, ended

    async def run(self) -> None:
        """Keep it running, forever; it must be running when this is called."""
        pause_s, since = FIRST_PAUSE_S, time.monotonic()
        while True:
            await self._ended()
            self.failing = time.monotonic() - since < SETTLED_S
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S) if self.failing and self.restarts else FIRST_PAUSE_S
            log.warning("process_ended", process=self.name, restarts=self.restarts, next_start_in_s=pause_s)
            await asyncio.sleep(pause_s)
            self.restarts += 1
            since = time.monotonic()
            try:
                await self._start()
            except (OSError, OvsFailed, ServerFailed) as error:  # as if it had ended at once
                log.warning("process_not_started", process=self.name, error=str(error))


class Program:
    """One of our processes: a command, its environment and its log."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log_file: Path) -> None:
        self._command, self._variables = tuple(command), dict(variables)
        self.log_file = log_file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        with self.log_file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self._variables},
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the lab, which then ends everything in its own way
            )

    async def ended(self) -> None:
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def last_words(self) -> str:
        """The last lines of its log."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-5:])
        return ""
