"""What a Pod serves: TCP and UDP on each of its ports; HTTP requests are answered 200, anything else comes back."""

import contextlib
import functools
import select
import socket

from sluice.lab.prober.loop import Loop

BACKLOG = 4096
"""Connections that may wait; a matrix opens many at once, and a full backlog looks like a dropped SYN."""

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")


def serve(loop: Loop, port: int) -> None:
    """Answer on TCP and UDP, over every family the machine has.

    Raises:
        OSError: somebody else has the port.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            except OSError:
                continue  # a kernel without IPv6
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", port))
            if kind == socket.SOCK_STREAM:
                sock.listen(BACKLOG)
                loop.watch(sock.fileno(), select.EPOLLIN, functools.partial(_accept, loop, sock))
            else:
                loop.watch(sock.fileno(), select.EPOLLIN, functools.partial(_echo, sock))


def _accept(loop: Loop, listener: socket.socket, _: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _sender = listener.accept()
            connection.setblocking(False)
            _Connection(loop, connection)


def _echo(sock: socket.socket, _: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, sender = sock.recvfrom(65_536)
            sock.sendto(data, sender)


class _Connection:
    """One accepted connection."""

    def __init__(self, loop: Loop, connection: socket.socket) -> None:
        self._loop, self._connection = loop, connection
        self._head = b""
        loop.watch(connection.fileno(), select.EPOLLIN | select.EPOLLRDHUP, self._ready)

    def _ready(self, _: int) -> None:
        try:
            data = self._connection.recv(65_536)
            if data:
                self._connection.sendall(self._answer(data))
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # reset: as if it had ended
        self._loop.forget(self._connection.fileno())
        self._connection.close()

    def _answer(self, data: bytes) -> bytes:
        if not self._head and data.split(b" ", 1)[0] not in METHODS:
            return data
        *whole, self._head = (self._head + data).split(b"\r\n\r\n")
        return b"".join(_http_answer(head) for head in whole)


def _http_answer(head: bytes) -> bytes:
    body = b"" if head.startswith(b"HEAD") else b"ok\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
