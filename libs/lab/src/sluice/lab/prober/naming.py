"""A DNS server in a namespace of the lab, and resolution of names by Pods before they send their packets."""

import contextlib
import os
import secrets
import select
import socket
from collections.abc import Callable
from functools import partial

from sluice.dataplane.dns.message import PORT, Kind, Unreadable, read
from sluice.dataplane.dns.writing import question
from sluice.lab.prober.loop import Loop
from sluice.lab.prober.probing import Settled, What
from sluice.lab.prober.sockets import bound, family_of, listening
from sluice.lab.records import Records, answered

TRIES, TRY_S = 3, 2.0
"""Of a DNS query: an answer may be delayed by two seconds."""


class NameServer:
    """Answers over UDP and TCP with these records."""

    def __init__(self, loop: Loop) -> None:
        self.records: Records = {}
        self._loop = loop
        for sock in listening(PORT):
            ready = self._accept if sock.type == socket.SOCK_STREAM else self._answer
            loop.watch(sock.fileno(), select.EPOLLIN, partial(ready, sock))

    def _answer(self, sock: socket.socket, _: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                asked, sender = sock.recvfrom(65_536)
                if answer := answered(self.records, asked, udp=True):
                    sock.sendto(answer, sender)

    def _accept(self, listener: socket.socket, _: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _sender = listener.accept()
                connection.setblocking(False)
                self._loop.watch(connection.fileno(), select.EPOLLIN, partial(self._converse, connection, bytearray()))

    def _converse(self, connection: socket.socket, held: bytearray, _: int) -> None:
        with contextlib.suppress(OSError):
            data = connection.recv(65_536)
            held += data
            while len(held) >= 2 and len(held) >= 2 + (size := int.from_bytes(held[:2], "big")):
                answer = answered(self.records, bytes(held[2 : 2 + size]), udp=False) or b""
                octets = len(answer).to_bytes(2, "big") + answer
                connection.sendall(octets[:1])  # in two segments, so that observers have to reassemble them
                connection.sendall(octets[1:])
                del held[: 2 + size]
            if data:
                return
        self._loop.forget(connection.fileno())
        connection.close()


class Resolving:
    """Queries a name until it is answered, then continues with the resolved address."""

    def __init__(self, loop: Loop, what: What, then: Callable[[str], object], settled: Settled) -> None:
        self._loop, self._then, self._settled = loop, then, settled
        self._name, self._server, self._by = what["resolve"]["name"], what["resolve"]["server"], what["resolve"]["by"]
        self._kind = Kind.AAAA if ":" in what["address"] else Kind.A
        self._sock: socket.socket | None = None
        self._left, self._done = TRIES, False
        self._next()

    def _next(self) -> None:
        self._close()
        if self._done:
            return
        if not self._left:
            self._end("Error", f"DNS: {self._server} does not answer")
            return
        self._left -= 1
        self._loop.later(TRY_S, self._next)
        with contextlib.suppress(OSError):  # as if it had not been answered
            self._ask()

    def _ask(self) -> None:
        stream = self._by == "TCP"
        sock = bound(family_of(self._server), socket.SOCK_STREAM if stream else socket.SOCK_DGRAM, 0)
        self._sock = sock
        sock.connect_ex((self._server, PORT))
        self._id, self._in = secrets.randbelow(1 << 16), b""
        self._out = question(self._id, self._name, self._kind)
        if stream:
            self._out = len(self._out).to_bytes(2, "big") + self._out
        self._loop.watch(sock.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET, self._ready)

    def _ready(self, events: int) -> None:
        if self._sock is None:
            return
        try:
            if self._out and events & select.EPOLLOUT:
                self._out = self._out[self._sock.send(self._out) :]
            while not self._done and (data := self._sock.recv(65_536)):
                self._in = self._in + data if self._by == "TCP" else data
                self._take()
        except BlockingIOError:
            pass
        except OSError as error:
            self._end("Error", f"DNS: {os.strerror(error.errno or 0)}")

    def _take(self) -> None:
        octets = self._in
        if self._by == "TCP":
            if len(octets) < 2 or len(octets) < 2 + int.from_bytes(octets[:2], "big"):
                return
            octets = octets[2:]
        try:
            answer = read(octets)
        except Unreadable as error:
            self._end("Error", f"DNS: {error}")
            return
        if answer.id != self._id:
            return
        told = [one.address for one in answer.told if one.name == self._name.lower()]
        if told:
            self._end("", told[0])
        else:
            self._end("Error", f"DNS: {self._name} has no address ({answer.code})")

    def _end(self, result: str, detail: str) -> None:
        if self._done:
            return
        self._done = True
        self._close()
        if result:
            self._settled(result, detail)
        else:
            self._then(detail)

    def _close(self) -> None:
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
