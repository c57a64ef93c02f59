"""A guest: boot it, call functions in it, end it."""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sluice.lab.guest import wire

P = ParamSpec("P")
T = TypeVar("T")

BOOT_S = 120.0
"""It takes 10 s on an idle machine; the interpreter starts inside, without acceleration."""

CALL_S = 300.0


class GuestFailed(Exception):
    """The guest did not boot, ended, or does not answer; with the last lines of its console."""


class RaisedInside(AssertionError):
    """The called function raised; the message is its traceback. An assertion, because most calls are checks."""


class Guest:
    """A running guest. Calls run one after the other; it ends with `stop`, or with the process that started it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, console: Path) -> None:
        self._process, self._channel, self._console = process, channel, console
        self._wire = wire.Channel(channel.recv, channel.send)
        self.release = ""
        """Its kernel's release, as in uname."""

    @classmethod
    def start(cls, command: Sequence[str], channel: socket.socket, theirs: Sequence[int], folder: Path) -> "Guest":
        """Run the command that boots it, and wait for its agent.

        Args:
            channel: our end of the channel to the agent.
            theirs: file descriptors that the command inherits; ours are closed.
            folder: receives its console log.

        Raises:
            GuestFailed
        """
        console = folder / "console.log"
        with console.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=theirs,
                cwd=folder,  # where its core would be dumped
                start_new_session=True,
            )
        for descriptor in theirs:
            os.close(descriptor)
        guest = cls(process, channel, console)
        try:
            channel.settimeout(BOOT_S)
            guest.release = guest._answer()
        except BaseException:
            guest.stop()
            raise
        return guest

    def call(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """Run the function inside and return its result. It is found by its file; arguments and result must pickle.

        Raises:
            RaisedInside: it raised.
            GuestFailed: the guest ended, or did not answer in 300 s.
        """
        if named:
            raise TypeError(f"{function.__qualname__}: a guest takes positional arguments only")
        call = wire.Call(
            function.__module__, function.__code__.co_filename, function.__qualname__, pickle.dumps(arguments)
        )
        self._channel.settimeout(CALL_S)
        try:
            self._wire.send(call)
        except (OSError, wire.Gone) as error:
            raise self._failed(str(error)) from error
        return self._answer()  # type: ignore[no-any-return]  # what the function returned

    def _answer(self) -> Any:  # whatever the function returned
        try:
            frame = self._wire.receive()
        except (OSError, wire.Gone) as error:
            raise self._failed(str(error)) from error
        match frame:
            case wire.Raised(trace):
                raise RaisedInside(trace)
            case wire.Returned(value):
                return value
            case _:
                raise self._failed(f"its agent sent {frame!r}")

    def _failed(self, reason: str) -> GuestFailed:
        last = "\n".join(self._console.read_text(errors="replace").splitlines()[-30:])
        return GuestFailed(f"the guest does not answer ({reason}); its console says:\n{last}")

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


def agent(channel: str) -> str:
    """The shell command that runs the agent inside, with this process's interpreter and modules."""
    paths = ":".join(path for path in sys.path if path)
    return f"PYTHONPATH={paths} PYTHONDONTWRITEBYTECODE=1 {sys.executable} -m sluice.lab.guest.agent {channel}"


def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sluice-guest-"))
