"""Programs are started again when they end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sluice.lab.ovs import OvsFailed
from sluice.lab.processes import Program, Supervised


class Watched(Supervised):
    """Says when it has started again."""

    def __init__(self, program: Program) -> None:
        super().__init__("program", self._start_and_tell, program.ended)
        self._program = program
        self.started: asyncio.Queue[int] = asyncio.Queue()

    async def _start_and_tell(self) -> None:
        await self._program.start()
        self.started.put_nowait(self.restarts)


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    program = Program(
        [sys.executable, "-I", "-c", "import os; print(os.environ['WORD'], flush=True); os.read(9, 1)"],
        {"WORD": "hello"},
        tmp_path / "program.log",
    )
    yield program
    program.kill()
    await program.ended()


@pytest.fixture
async def sleeper(tmp_path: Path) -> AsyncIterator[Program]:
    program = Program(["sleep", "300"], {}, tmp_path / "sleep.log")
    await program.start()
    yield program
    program.kill()
    await program.ended()


async def test_what_is_killed_runs_again(sleeper: Program) -> None:
    supervised = Watched(sleeper)
    running = asyncio.create_task(supervised.run())
    for number in range(1, 4):
        pid = sleeper.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            assert await supervised.started.get() == number
        assert sleeper.pid not in (None, pid)
    running.cancel()
    await asyncio.wait([running])

    assert (supervised.restarts, supervised.failing) == (3, True)


async def test_what_cannot_be_started_is_tried_again() -> None:
    tries = 0
    enough = asyncio.Event()

    async def start() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            enough.set()
        raise OvsFailed("the disk is full")

    async def ended() -> None:
        """It never runs."""

    running = asyncio.create_task(Supervised("broken", start, ended).run())
    async with asyncio.timeout(60):
        await enough.wait()
    running.cancel()
    await asyncio.wait([running])


async def test_a_program_has_a_log_and_an_environment(program: Program) -> None:
    await program.start()
    await program.ended()

    assert program.pid is None
    words = program.last_words()
    assert "Bad file descriptor" in words
    assert program.log_file.read_text().startswith("hello\n")


async def test_a_program_that_was_never_started(tmp_path: Path) -> None:
    program = Program(["true"], {}, tmp_path / "true.log")

    await program.ended()
    assert (program.pid, program.last_words()) == (None, "")
