"""Single packets and their answers, over TCP and UDP."""

import errno
import os
import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

from sluice.lab.prober.loop import Loop
from sluice.lab.prober.sockets import bound, family_of, icmp_error, judge, lost_at_home

Settled = Callable[[str, str], None]
"""Called once, with a result and its detail."""

What = Mapping[str, Any]  # Any: JSON
"""Protocol, address, port, source_port."""


class Probe:
    """Sends until it is answered, at most `tries` times; every try uses a new socket with a new source port."""

    def __init__(self, loop: Loop, what: What, tries: int, timeout_s: float, settled: Settled) -> None:
        self._loop, self._what, self._tries, self._timeout_s, self._settled = loop, what, tries, timeout_s, settled
        self._sock: socket.socket | None = None
        self._round = 0
        self._done = False
        self._next()

    def _next(self) -> None:
        self._close()
        if self._done:
            return
        if self._round == self._tries:
            self._settle("Dropped", "no answer")
            return
        self._round += 1
        self._loop.later(self._timeout_s, self._next)
        try:
            self._sock = self._start()
        except OSError as error:
            verdict = judge(error.errno or 0, None)
            if verdict:
                self._settle(*verdict)

    def _start(self) -> socket.socket:
        address = self._what["address"]
        kind = socket.SOCK_STREAM if self._what["protocol"] == "TCP" else socket.SOCK_DGRAM
        sock = bound(family_of(address), kind, self._what.get("source_port", 0))
        code = sock.connect_ex((address, self._what["port"]))
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(code, os.strerror(code))
        if kind == socket.SOCK_DGRAM:
            with lost_at_home():
                sock.send(b"sluice")
        self._loop.watch(sock.fileno(), select.EPOLLIN if kind == socket.SOCK_DGRAM else select.EPOLLOUT, self._ready)
        return sock

    def _ready(self, events: int) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code or events & select.EPOLLERR:
            if verdict := judge(code, icmp_error(self._sock)):
                self._settle(*verdict)
            elif self._what["protocol"] == "TCP":
                self._close()  # nothing that counts: the socket is dead, the timer starts the next try
            return
        self._settle("Allowed", "")

    def _settle(self, result: str, detail: str) -> None:
        if not self._done:
            self._done = True
            self._close()
            self._settled(result, detail)

    def _close(self) -> None:
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
