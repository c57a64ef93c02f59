"""Connections that stay open while policies change."""

import select
import socket

from sluice.lab.prober.loop import Loop
from sluice.lab.prober.probing import Settled, What
from sluice.lab.prober.sockets import bound, family_of, icmp_error, judge


class LongLived:
    """A connection that stays open; each check sends a line of its own and waits for its echo."""

    def __init__(self, loop: Loop, what: What) -> None:
        self._loop = loop
        kind = socket.SOCK_STREAM if what["protocol"] == "TCP" else socket.SOCK_DGRAM
        self._sock = bound(family_of(what["address"]), kind, what.get("source_port", 0))
        self._sock.connect_ex((what["address"], what["port"]))
        self._in = b""
        self._error: tuple[str, str] | None = None
        self._count = 0
        self._waiting: dict[bytes, Settled] = {}
        self._to_send: list[bytes] = []
        loop.watch(self._sock.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET, self._ready)

    def check(self, tries: int, timeout_s: float, settled: Settled) -> None:
        if self._error:
            settled(*self._error)
            return
        if not tries:
            settled("Dropped", "no answer")
            return
        self._count += 1
        line = b"sluice %d\n" % self._count
        self._waiting[line] = settled
        self._to_send.append(line)
        self._send()

        def late() -> None:
            if self._waiting.pop(line, None):
                self.check(tries - 1, timeout_s, settled)

        self._loop.later(timeout_s, late)

    def close(self) -> None:
        self._loop.forget(self._sock.fileno())
        self._sock.close()

    def _send(self) -> None:
        try:
            while self._to_send:
                self._sock.send(self._to_send[0])
                self._to_send.pop(0)
        except (BlockingIOError, BrokenPipeError):
            pass
        except OSError as error:
            self._fail(error.errno or 0)

    def _ready(self, events: int) -> None:
        try:
            while data := self._sock.recv(65_536):
                self._in += data
            self._error = self._error or ("Error", "the other end closed the connection")
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(error.errno or 0)
        self._send()
        *lines, self._in = self._in.split(b"\n")
        for line in lines:
            if settled := self._waiting.pop(line + b"\n", None):
                settled("Allowed", "")
        if self._error:
            for settled in list(self._waiting.values()):
                settled(*self._error)
            self._waiting.clear()

    def _fail(self, code: int) -> None:
        self._error = self._error or judge(code, icmp_error(self._sock))
