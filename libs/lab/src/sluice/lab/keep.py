"""Labs that outlive the command that started them.

The command starts itself again as a process of its own session, and waits until that says that its work is done; from
then on it is the lab's owner, and stays until somebody ends it. There is one kind of lab, and one kind of owner.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from sluice.lab import claim, state, sweep
from sluice.lab.lab import Lab

T = TypeVar("T")

TELL = "SLUICE_LAB_TELL"
"""File descriptor to which the process that stays writes its exit code, once its work is done."""

REFRESH_S = 1.0
"""Between two writings of the state that `sluice lab status` shows."""


def stays() -> bool:
    """This is the process that stays."""
    return TELL in os.environ


def detached(arguments: Sequence[str]) -> int:
    """Run `sluice` with these arguments in a process that stays; returns its exit code, once its work is done."""
    told, tell = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", "from sluice.cli.main import main; main()", *arguments],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[tell],
        env={**os.environ, TELL: str(tell)},
    )
    os.close(tell)
    with os.fdopen(told, "rb") as reader:
        try:
            said = reader.read(1)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if said:
        process.returncode = 0  # it stays, so nobody waits for it; else Popen warns of a process left running
        return said[0]
    return process.wait() or 1


async def stay(lab: Lab, code: int) -> None:
    """Tell that the work is done, and keep the lab until this process is told to end."""
    log = (lab.folder / "lab.log").open("ab")
    state.write(state.of(lab, os.getpid()))
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    descriptor = int(os.environ.pop(TELL))
    os.write(descriptor, bytes([code]))
    os.close(descriptor)
    while True:
        await asyncio.sleep(REFRESH_S)
        state.write(state.of(lab, os.getpid()))


def end(name: str, timeout_s: float = 20.0) -> bool:
    """End the lab and wait until nothing of it is left; False if something still is after that time.

    An owner that does not go in half of the time is killed; the guardian then sweeps in its place.
    """
    folder = claim.root() / name
    number = signal.SIGTERM
    for _ in range(2):
        for owner in claim.owners():
            if owner.name == name:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(owner.pid, number)
        deadline = time.monotonic() + timeout_s / 2
        while folder.exists() and time.monotonic() < deadline:
            claim.sweep_stale()  # of an owner and a guardian that were both killed
            time.sleep(sweep.POLL_S)
        if not folder.exists():
            return True
        number = signal.SIGKILL
    return False


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns; SIGTERM and SIGHUP cancel it as Ctrl-C does, so that a lab can be swept.

    Raises:
        KeyboardInterrupt: it was cancelled.
    """

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
