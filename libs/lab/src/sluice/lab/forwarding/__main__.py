"""A forwarder: waits for its links, forwards while they stay the same, and restarts when one is replaced.

The numbers of forwarded and dropped frames are written to `counts` in its folder, at most once a second.
"""

import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from sluice.lab.capture.listening import LONGEST, PACKET_OUTGOING, NoLink, raw
from sluice.lab.forwarding import inline, returning
from sluice.lab.forwarding.order import Order, ready

CLONE_NEWNET = 0x40000000
"""Source: linux/sched.h."""

LOOK_S = 0.05
"""Interval of checks whether the links exist and are unchanged."""

PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""

STARTED_S = 30.0
"""Time for Suricata to start; it takes half a second on an idle machine."""


class Changed(Exception):
    """A link has gone, or another link has its name."""


class Work:
    """Forwarding between existing links."""

    def __init__(self, order: Order, links: list[str], indexes: tuple[int, ...]) -> None:
        self.order = order
        self._links, self._indexes = links, indexes

    def same(self) -> None:
        """Raise Changed if the links are not the same any more."""
        if _indexes(self._links) != self._indexes:
            raise Changed

    def begun(self) -> None:
        """It forwards from now on."""
        told = Path(self.order.folder, "ready")
        new = told.with_suffix(".new")
        new.write_text(ready(self._indexes))
        new.replace(told)


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    namespace = os.open(order.netns, os.O_RDONLY | os.O_CLOEXEC)
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"{order.netns}: {os.strerror(ctypes.get_errno())}")
    links = [order.from_, *([order.to] if order.to else [])]
    while True:
        Path(order.folder, "ready").unlink(missing_ok=True)
        if (indexes := _indexes(links)) is None:
            time.sleep(LOOK_S)
            continue
        try:
            (_inspect if order.rules else _forward)(Work(order, links, indexes))
        except (Changed, NoLink):
            continue


def _indexes(links: list[str]) -> tuple[int, ...] | None:
    try:
        return tuple(map(socket.if_nametoindex, links))
    except OSError:
        return None


def _forward(work: Work) -> None:
    order = work.order
    pattern = re.compile(order.drop.encode()) if order.drop else None
    source = raw(order.from_)
    send = raw(order.to).send if order.to else returning.sender(order)
    counts = {"forwarded": 0, "dropped": 0}
    poll = select.poll()
    poll.register(source, select.POLLIN)
    work.begun()
    looked = time.monotonic()
    while True:
        if poll.poll(LOOK_S * 1000):
            _take(source, send, pattern, counts)
        if time.monotonic() - looked > LOOK_S:
            work.same()
            looked = time.monotonic()


def _take(
    source: socket.socket, send: Callable[[bytes], object], pattern: re.Pattern[bytes] | None, counts: dict[str, int]
) -> None:
    """Forward the frames that have arrived."""
    try:
        while True:
            octets, (_, _, kind, *_) = source.recvfrom(LONGEST)
            if kind == PACKET_OUTGOING:
                continue
            if pattern and pattern.search(octets):
                counts["dropped"] += 1
            else:
                send(octets)
                counts["forwarded"] += 1
    except BlockingIOError:
        pass
    except OSError as error:
        raise Changed from error


def _inspect(work: Work) -> None:
    order = work.order
    log = inline.prepare(order)
    process = subprocess.Popen(inline.command(order), preexec_fn=_with_us)  # noqa: PLW1509  # this process has no threads
    deadline = time.monotonic() + STARTED_S
    started = False
    try:
        while True:
            time.sleep(LOOK_S)
            work.same()
            if process.poll() is not None:
                sys.exit(f"suricata ended with {process.returncode}: {_end(log)}")
            if not started and "Engine started" in _end(log):
                started = True
                work.begun()
            if not started and time.monotonic() > deadline:
                sys.exit(f"suricata is not at work after {STARTED_S:g} s: {_end(log)}")
    finally:
        process.kill()
        process.wait()


def _with_us() -> None:
    """Kill it when this process dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:] if log.exists() else ""


if __name__ == "__main__":
    main()
