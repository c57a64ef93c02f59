"""Removes everything that belongs to a lab, however the lab ended.

Everything is found by the lab's name alone: each process has `SLUICE_LAB=<name>` in the environment it was started with
(so that daemons that forked away are found, and reused pids are not), each network namespace is called
`sluice.<name>.…`, links live in those namespaces and go with them, and all files are in one folder.

Uses the standard library only, because it is also a program: `python -I -S sweep.py NAME FOLDER` is a lab's guardian.
It has a session of its own, waits until its standard input ends (which it does when the lab is gone, for whatever
reason), and sweeps. It shares the lab's lock until then, so that nobody starts a lab of that name in between.
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
"""The file in a lab's folder that its owner and guardian lock; it is removed last."""

READY = b"ready\n"
"""What a guardian prints once nothing but its input can end it. Later it prints what it could not remove."""

NAMESPACES = Path("/run/netns")
"""The folder of `ip netns`. Source: ip-netns(8)."""

MNT_DETACH = 2
"""Source: umount2(2)."""

DYING_S = 5.0
"""Seconds for a process to disappear after SIGKILL; if it takes longer, it hangs in the kernel."""

POLL_S = 0.005
"""There is no event for the death of a process that is not our child."""


def netns_prefix(name: str) -> str:
    """The prefix of a lab's namespaces; names contain no dot, so no lab's prefix is a prefix of another's."""
    return f"sluice.{name}."


def processes(name: str) -> list[int]:
    """Pids of the lab's processes except this one; zombies do not count."""
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

    A process that is being started has no visible environment for a moment, so only the second empty result in a row
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
    """Like `ip netns delete`: the kernel removes the namespace and its links with the last process in it."""
    ctypes.CDLL(None).umount2(os.fsencode(path), MNT_DETACH)
    path.unlink(missing_ok=True)


def clear(name: str, folder: Path) -> list[str]:
    """Remove everything that belongs to the lab except its lock; returns descriptions of what could not be removed."""
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
    """Remove everything like `clear`, and finally the lock: from then on the name can be taken."""
    stuck = clear(name, folder)
    (folder / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody has just taken the name, or something is stuck
        folder.rmdir()
    return stuck


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the lab, whose end we will notice
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
