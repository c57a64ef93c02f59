"""Clients that ask all the time, for what they may and for what they may not, each time on a new connection."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sluice.drivers import namespaces

PORT = 80

PATIENCE_S = 1.0
"""A client gives up after this long, and comes again."""

PAUSE_S = 0.005


class Leak(NamedTuple):
    """A denied request that was answered; times are of `time.monotonic`."""

    kind: str
    """`denied later`: on a connection that began with a request that is allowed."""

    server: str
    began_s: float
    """When its connection did."""

    answered_s: float


class Load:
    """What became of requests: `served` of those that are allowed, `leaked` of those that are not."""

    def __init__(self, netns: Path, servers: Sequence[str], *, patience_s: float = PATIENCE_S) -> None:
        self._netns, self._servers, self._patience_s = netns, servers, patience_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.leaks: list[Leak] = []
        self.served_at = 0.0
        """When an allowed request was answered last, by `time.monotonic`."""

        self.longest_s = 0.0
        """Between two of them. Whoever sets it to 0 measures from then on."""

    @contextlib.contextmanager
    def running(self) -> Iterator["Load"]:
        asks = (self._allowed, self._denied, self._denied_later)
        threads = [threading.Thread(target=namespaces.inside, args=(self._netns, ask), daemon=True) for ask in asks]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def recovered(self, since: float, within_s: float) -> float:
        """Seconds until the first allowed request after `since` was answered."""
        while self.served_at <= since:
            assert time.monotonic() < since + within_s, f"nobody was served for {within_s} s"
            time.sleep(0.01)
        return self.served_at - since

    def _allowed(self) -> None:
        for server in self._each():
            began = time.monotonic()
            answer = self._ask(server, b"/public/a")
            with self._lock:
                self.counts["served" if answer else "not served"] += 1
                if answer and began > self.served_at:
                    now = time.monotonic()
                    self.longest_s = max(self.longest_s, now - self.served_at) if self.served_at else 0.0
                    self.served_at = now

    def _denied(self) -> None:
        for server in self._each():
            self._denies("denied", server, b"/admin")

    def _denied_later(self) -> None:
        for server in self._each():
            self._denies("denied later", server, b"/public/a", b"/admin")

    def _denies(self, kind: str, server: str, *paths: bytes) -> None:
        began = time.monotonic()
        answer = self._ask(server, *paths)
        with self._lock:
            self.counts["leaked" if answer else kind] += 1
            if answer:
                self.leaks.append(Leak(kind, server, began, time.monotonic()))

    def _each(self) -> Iterator[str]:
        while True:
            for server in self._servers:
                if self._over.wait(PAUSE_S):
                    return
                yield server

    def _ask(self, server: str, *paths: bytes) -> bool:
        """Whether the last of the requests of one connection was answered."""
        with contextlib.suppress(OSError), socket.create_connection((server, PORT), timeout=self._patience_s) as sock:
            answer = b""
            for path in paths:
                sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n")
                answer = sock.recv(1 << 16)
            return answer.startswith(b"HTTP/1.1 200")
        return False
