"""Leaves nothing of a lab behind, whatever became of it.

Everything of a lab is found by its name alone: each process carries `SLUICE_LAB=<name>` in the environment it was
started with (so a daemon that forked away is found as well, and a reused pid never is), each network namespace is
called `sluice.<name>.…`, links live in those namespaces and go with them, and all files are in one folder.

Standard library only, because this is a program too: `python -I -S sweep.py NAME FOLDER` is a lab's guardian. It has a
session of its own, waits until its standard input ends (which it does when the lab is gone, however it went), and
sweeps. It shares the lab's lock until then, so that nobody starts a lab of that name in between.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "SLUICE_LAB"
"""Environment variable of every process that belongs to a lab; its value is the lab's name."""

LOCK = "lock"
"""The file in a lab's folder that its owner and its guardian hold a lock on; it goes last."""

READY = b"ready\n"
"""What a guardian says once nothing but its input can end it. Afterwards it says what it could not remove."""

NAMESPACES = Path("/run/netns")
"""Where `ip netns` looks. Source: ip-netns(8)."""

MNT_DETACH = 2
"""Source: umount2(2)."""

DYING_S = 5.0
"""Seconds until a process that was sent SIGKILL must be gone; longer means that it hangs in the kernel."""

POLL_S = 0.005
"""There is no event for the death of somebody else's child."""


def netns_prefix(name: str) -> str:
    """What the namespaces of a lab begin with; a lab's name holds no dot, so no lab's prefix begins another's."""
    return f"sluice.{name}."


def processes(name: str) -> list[int]:
    """Pids of the lab's processes but this one; who has ended and waits for its parent does not count."""
    wanted = f"{MARK}={name}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # ended meanwhile
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return sorted(found)


def namespaces(name: str) -> list[Path]:
    """The lab's network namespaces."""
    return sorted(NAMESPACES.glob(f"{netns_prefix(name)}*"))


def kill(name: str) -> list[int]:
    """Kill all of the lab's processes; returns those that did not die in time.

    A process that is just being started shows no environment for a moment: only the second look that finds nobody
    counts.
    """
    deadline = time.monotonic() + DYING_S
    looks = 0
    while looks < 2:
        alive = processes(name)
        if alive and time.monotonic() > deadline:
            return alive
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        looks = 0 if alive else looks + 1
        time.sleep(POLL_S)
    return []


def remove_namespace(path: Path) -> None:
    """As `ip netns delete`: the kernel removes the namespace and its links when its last process has gone."""
    ctypes.CDLL(None).umount2(os.fsencode(path), MNT_DETACH)
    path.unlink(missing_ok=True)


def clear(name: str, folder: Path) -> list[str]:
    """Remove all that belongs to the lab but its lock; returns what could not be removed, in words."""
    stuck = [f"process {pid} does not die" for pid in kill(name)]
    for path in namespaces(name):
        try:
            remove_namespace(path)
        except OSError as error:  # mounted twice
            stuck.append(f"{path} cannot be removed: {error.strerror}")
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink(missing_ok=True)
        if path.name != LOCK and path.exists():
            stuck.append(f"{path} cannot be removed")
    return stuck


def sweep(name: str, folder: Path) -> list[str]:
    """Remove all that belongs to the lab, as `clear`, and the lock at the very end: from then on others may have it."""
    stuck = clear(name, folder)
    (folder / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody has just taken the name, or something is stuck
        folder.rmdir()
    return stuck


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the lab, which tells us by going
    os.write(1, READY)
    name, folder = sys.argv[1:]
    while os.read(0, 64):
        pass
    stuck = sweep(name, Path(folder))
    with contextlib.suppress(BrokenPipeError):
        os.write(1, "\n".join(stuck).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
