"""Connections for requests: one or several HTTP requests at once, or a TLS handshake."""

import os
import select
import socket
import ssl
from collections import deque

from sluice.lab.prober import secured
from sluice.lab.prober.loop import Callback, Loop
from sluice.lab.prober.probing import Settled, What
from sluice.lab.prober.sockets import bound, family_of, icmp_error, judge

ANSWER = b"HTTP/1.1 "
"""How each answer of a Pod begins; it occurs nowhere else in it."""


class Talk:
    """A connection that carries one question after the other.

    Questions are the whole `requests`, sent in one piece; without any, a TLS handshake followed by an echoed line.
    """

    def __init__(self, loop: Loop, what: What) -> None:
        """Raises OSError: there is no route."""
        self._loop = loop
        self._sock = bound(family_of(what["address"]), socket.SOCK_STREAM, what.get("source_port", 0))
        self._sock.connect_ex((what["address"], what["port"]))
        self._tls = secured.Secured(secured.client(), what["sni"]) if what.get("sni") is not None else None
        self._in, self._out = b"", b""
        self._lines = 0
        self._waiting: tuple[bytes, int, Settled] | None = None
        """The awaited text, how often it must arrive, and the callback."""

        self._next: deque[tuple[What, float, Settled]] = deque()
        """Further questions, one after the other."""

        self._error: tuple[str, str] | None = None
        loop.watch(self._sock.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET, self._ready)

    def ask(self, what: What, timeout_s: float, settled: Settled) -> None:
        """Ask once earlier questions are settled; nothing is sent twice, since TCP retransmits."""
        if self._waiting is not None:
            self._next.append((what, timeout_s, settled))
            return
        requests = what.get("requests") or []
        self._in = b""
        if requests:
            self._say("".join(requests).encode())
            self._waiting = ANSWER, len(requests), settled
        elif self._tls is not None and not self._tls.shaken:
            self._waiting = b"", 0, settled
        else:
            self._lines += 1
            line = b"sluice %d\n" % self._lines
            self._say(line)
            self._waiting = line, 1, settled
        self._loop.later(timeout_s, lambda: self._late(settled))
        self._go_on()

    def close(self) -> None:
        self._waiting = None
        self._next.clear()
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
            self._sock.close()

    def _say(self, text: bytes) -> None:
        if self._tls is None:
            self._out += text
        else:
            self._tls.say(text)

    def _late(self, settled: Settled) -> None:
        if self._waiting is not None and self._waiting[2] is settled:
            self._settle("Dropped", "no answer")

    def _ready(self, _: int) -> None:
        try:
            while data := self._sock.recv(65_536):
                self._in += self._tls.feed(data) if self._tls else data
            self._error = self._error or ("Error", "the other end closed the connection")
        except BlockingIOError:
            pass
        except ssl.SSLError as error:
            self._error = self._error or ("Error", f"no TLS comes back: {error.reason}")
        except OSError as error:
            self._fail(error)
        self._go_on()

    def _go_on(self) -> None:
        try:
            if self._tls:
                self._out += self._tls.to_send()
            while self._out:
                self._out = self._out[self._sock.send(self._out) :]
        except (BlockingIOError, BrokenPipeError):
            pass
        except OSError as error:
            self._fail(error)
        if self._waiting is None:
            return
        text, times, _ = self._waiting
        if (self._tls is None or self._tls.shaken) and self._in.count(text) >= times:
            self._settle("Allowed", "")
        elif self._error:
            self._settle(*self._error)

    def _settle(self, result: str, detail: str) -> None:
        if self._waiting is not None:
            (_, _, settled), self._waiting = self._waiting, None
            settled(result, detail)
            if self._next:
                self.ask(*self._next.popleft())

    def _fail(self, error: OSError) -> None:
        code = error.errno or 0
        self._error = self._error or judge(code, icmp_error(self._sock)) or ("Error", os.strerror(code))


def once(loop: Loop, what: What, timeout_s: float, settled: Settled) -> Callback:
    """Ask on a connection of its own; the returned function ends it. Raises OSError, as `Talk`."""
    talk = Talk(loop, what)
    talk.ask(what, timeout_s, settled)
    return talk.close
