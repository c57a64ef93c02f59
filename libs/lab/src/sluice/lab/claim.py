"""Ownership of lab names, and cleanup of labs whose owner died.

A lab is a folder below the root. Its owner holds a lock on a file in it, and so does its guardian (`sweep`): the name
is free again when both are gone. A folder that nobody has locked belongs to a lab that was killed together with its
guardian; the next lab to start sweeps it.
"""

import contextlib
import fcntl
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from sluice.lab import sweep

DEFAULT_ROOT = Path("/var/lib/sluice/lab")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

HANDOVER_S = 15.0
"""Seconds to wait for the guardian of a lab of the same name that has just ended: it kills processes, and the kernel
frees resources."""


class Taken(Exception):
    """A lab of that name is running. The message says what to do."""


class BadName(ValueError):
    """The name is not valid for a lab."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Public facts about a lab (`owner.json` in its folder)."""

    name: str
    pid: int
    started: float
    """Seconds since 1970."""


def root() -> Path:
    """The folder of all labs: $SLUICE_LAB_ROOT, or DEFAULT_ROOT. It contains sockets, so its path must be short."""
    return Path(os.environ.get("SLUICE_LAB_ROOT", DEFAULT_ROOT))


def _lock(path: Path) -> int | None:
    """A file descriptor that holds the lock, or None if somebody else holds it."""
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # the folder was swept in between
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        try:
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)  # swept between opening and locking: the lock is worthless


def sweep_stale() -> list[str]:
    """Sweep every lab whose owner and guardian are gone; returns their names."""
    swept = []
    for folder in sorted(path for path in root().glob("*") if path.is_dir()):
        fd = _lock(folder / sweep.LOCK)
        if fd is not None:
            sweep.sweep(folder.name, folder)
            os.close(fd)
            swept.append(folder.name)
    return swept


def owners() -> list[Owner]:
    """The running labs, sorted by name."""
    found = []
    for path in sorted(root().glob("*/owner.json")):
        try:
            owner = msgspec.json.decode(path.read_bytes(), type=Owner)
            os.kill(owner.pid, 0)
        except (OSError, msgspec.MsgspecError):
            continue  # it is ending, so it cannot be used
        found.append(owner)
    return found


class Claim:
    """Ownership of a name until `release`, or until both this process and the guardian end."""

    def __init__(self, name: str, folder: Path, lock: int, guardian: subprocess.Popen[bytes]) -> None:
        self.name, self.folder = name, folder
        self._lock, self._guardian = lock, guardian

    @property
    def guardian_pid(self) -> int:
        return self._guardian.pid

    def release(self) -> list[str]:
        """Sweep and release the name; returns descriptions of what could not be removed.

        The guardian does the work, as it would if this process were killed; if the guardian was killed, this process
        does it.
        """
        stuck, _ = self._guardian.communicate()
        killed = self._guardian.returncode != 0
        left = sweep.sweep(self.name, self.folder) if killed else stuck.decode().splitlines()
        os.close(self._lock)
        return left


def claim(name: str | None = None) -> Claim:
    """Claim a lab name (generated if None), with an empty folder and a guardian.

    Raises:
        BadName: the name is not valid for a lab.
        Taken: a lab of that name is running.
        OSError: the root is not writable, or the guardian does not start.
    """
    name = name or f"lab-{secrets.token_hex(3)}"
    if not NAME.fullmatch(name):
        raise BadName(f"lab name {name!r}: use at most 32 lower case letters, digits and dashes")
    folder = root() / name
    deadline = time.monotonic() + HANDOVER_S
    while (lock := _lock(folder / sweep.LOCK)) is None:
        if any(owner.name == name for owner in owners()) or time.monotonic() > deadline:
            raise Taken(f"lab {name}: it runs already; end it by `sluice lab down --name {name}`, or use another name")
        time.sleep(sweep.POLL_S)  # its guardian is still sweeping
    sweep.clear(name, folder)
    owner = Owner(name=name, pid=os.getpid(), started=time.time())
    (folder / "owner.json").write_bytes(msgspec.json.encode(owner))
    guardian = subprocess.Popen(
        [sys.executable, "-I", "-S", sweep.__file__, name, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        pass_fds=[lock],
        env={key: value for key, value in os.environ.items() if key != sweep.MARK},
    )
    assert guardian.stdout is not None
    if guardian.stdout.readline() != sweep.READY:
        sweep.sweep(name, folder)
        raise OSError(f"lab {name}: its guardian ended with {guardian.wait()} at its start")
    return Claim(name, folder, lock, guardian)


def end(name: str, timeout_s: float = 20.0) -> bool:
    """End the lab and wait until it is swept; False if something is left after the timeout.

    An owner that does not exit within half of the time is killed; the guardian then sweeps in its place.
    """
    folder = root() / name
    number = signal.SIGTERM
    for _ in range(2):
        for owner in owners():
            if owner.name == name:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(owner.pid, number)
        deadline = time.monotonic() + timeout_s / 2
        while folder.exists() and time.monotonic() < deadline:
            sweep_stale()  # if both owner and guardian were killed
            time.sleep(sweep.POLL_S)
        if not folder.exists():
            return True
        number = signal.SIGKILL
    return False
