"""The engine's process: started with its configuration, monitored, stopped."""

import asyncio
import contextlib
import os
from pathlib import Path
from time import monotonic
from typing import Any

import structlog

from sluice.dataplane.l7.engine import Engine
from sluice.drivers.suricata.commands import Commands, EngineGone, EngineRefused

log = structlog.get_logger()

START_TIMEOUT_S = 60.0
"""An engine with 1,000 tenants starts in 2.4 s on an idle machine."""

LOOK_S = 0.02

BEAT_S = 0.5
"""Interval between liveness checks."""

GLANCE_S = 0.1
"""Interval between checks whether a signal stopped it; the second one in a row counts as dead."""

STOPPED = "T"
"""Source: proc_pid_stat(5), state."""

HUNG_S = 1.5
"""Without an answer for this long it counts as dead: commands take up to 0.4 s each and are queued."""

STARTED = "Engine started"
"""What the engine logs once it takes packets."""


class EngineFailed(Exception):
    """It did not start, or it ended; the message contains its output."""


class EngineProcess:
    """One life of the engine."""

    def __init__(self, engine: Engine, process: asyncio.subprocess.Process, commands: Commands) -> None:
        self.engine, self._process = engine, process
        self.commands = commands

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, engine: Engine, program: str, netns: Path | None = None) -> "EngineProcess":
        """Start an engine in the namespace (None: ours), and return once it takes packets. Write its files before.

        Raises:
            EngineFailed: it ended, or was not ready in time.
        """
        logged = Path(engine.folder, "suricata.log")
        logged.unlink(missing_ok=True)
        Path(engine.socket).unlink(missing_ok=True)  # left behind when an engine is killed
        output = Path(engine.folder, "output.log")
        words = (
            *_entering(netns),
            program,
            "-c",
            engine.configuration,
            "--af-packet",
            f"--reject-dev={engine.tap_out}",
        )
        with output.open("wb") as file:
            try:
                process = await asyncio.create_subprocess_exec(
                    *words,
                    *("-l", engine.folder),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=file,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineFailed(f"{program} cannot be run: {error}") from error
        try:
            until = monotonic() + START_TIMEOUT_S
            while not (logged.exists() and STARTED in logged.read_text(errors="replace")):
                if process.returncode is not None:
                    raise EngineFailed(f"{program} ended with {process.returncode}: {_last_words(output, logged)}")
                if monotonic() > until:
                    raise EngineFailed(
                        f"{program} was not ready in {START_TIMEOUT_S:g} s: {_last_words(output, logged)}"
                    )
                await asyncio.sleep(LOOK_S)
            commands = await Commands.connect(Path(engine.socket))
        except BaseException as error:
            await _end(process)
            if isinstance(error, EngineGone):
                raise EngineFailed(str(error)) from error
            raise
        return cls(engine, process, commands)

    async def ended(self) -> str:
        """Return why it no longer works, once that is so: it ended, a signal stopped it, or it does not answer."""
        tasks = [asyncio.ensure_future(one) for one in (self._exit(), self._halt(), self._silence())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task for task in tasks if task in done).result()
        finally:
            for task in tasks:
                await put_aside(task)

    async def _exit(self) -> str:
        return f"the engine ended with {await self._process.wait()}"

    async def _halt(self) -> str:
        looks = 0
        while looks < 2:
            await asyncio.sleep(GLANCE_S)
            looks = looks + 1 if _state(self.pid) == STOPPED else 0
        return "the engine was stopped by a signal"

    async def _silence(self) -> str:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self.commands.call("uptime", timeout_s=HUNG_S)
            except (EngineGone, EngineRefused) as error:
                return str(error)

    async def stop(self) -> None:
        """Stop the engine."""
        self.commands.close()
        await _end(self._process)


def _entering(netns: Path | None) -> tuple[str, ...]:
    """The words in front of a command to run it in the namespace. Source: nsenter(1)."""
    return () if netns is None else ("nsenter", f"--net={netns}")


async def _end(process: asyncio.subprocess.Process) -> None:
    # No graceful shutdown: it holds nothing that is worth the seconds this takes.
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def put_aside(task: asyncio.Future[Any]) -> None:
    """Cancel the task, wait for it, and discard its result."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


def _state(pid: int) -> str:
    """The state of a process, one letter; empty if there is no such process. Source: proc_pid_stat(5)."""
    try:
        _, _, behind = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return ""
    return behind.split()[0]


def _last_words(*files: Path) -> str:
    lines = [line for file in files if file.exists() for line in file.read_text(errors="replace").splitlines()]
    told = [line for line in lines if "rror" in line or line.startswith("E:")] or lines
    return "; ".join(told[-3:]) or "no output"


def sweep(engine: Engine) -> None:
    """Kill an engine left by a previous run of this service: two would answer for the same pair of ports."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(engine.configuration) in words and b"--af-packet" in words:
                log.warning("old_engine_ended", pid=int(entry.name))
                os.kill(int(entry.name), 9)
