"""What a Pod serves: TCP and UDP on each of its ports; HTTP requests are answered by 200, anything else is echoed.

The same inside TLS, for connections that begin with it.
"""

import contextlib
import functools
import select
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from sluice.lab.prober import secured
from sluice.lab.prober.loop import Loop
from sluice.lab.prober.sockets import PKTINFO_SIZE, from_destination, listening, tell_destinations

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE")


def serve(loop: Loop, port: int, certificate: Path) -> None:
    """Answer on TCP and UDP, over every family that the machine supports.

    Args:
        certificate: file with the certificate for TLS; created when somebody first uses TLS.

    Raises:
        OSError: the port is taken.
    """
    for sock in listening(port):
        if sock.type == socket.SOCK_STREAM:
            loop.watch(sock.fileno(), select.EPOLLIN, functools.partial(_accept, loop, sock, certificate))
        else:
            tell_destinations(sock)
            loop.watch(sock.fileno(), select.EPOLLIN, functools.partial(_echo, sock))


def _accept(loop: Loop, listener: socket.socket, certificate: Path, _: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _sender = listener.accept()
            connection.setblocking(False)
            _Connection(loop, connection, certificate)


def _echo(sock: socket.socket, _: int) -> None:
    """Echo from the address that it was sent to: a node has several, and the kernel would choose by route."""
    with contextlib.suppress(OSError):
        while True:
            data, ancillary, _flags, sender = sock.recvmsg(65_536, socket.CMSG_SPACE(PKTINFO_SIZE))
            sock.sendmsg([data], from_destination(ancillary), 0, sender)


class _Connection:
    """One accepted connection."""

    def __init__(self, loop: Loop, connection: socket.socket, certificate: Path) -> None:
        self._loop, self._connection, self._certificate = loop, connection, certificate
        self._begun = False
        self._tls: secured.Secured | None = None
        self._head = b""
        loop.watch(connection.fileno(), select.EPOLLIN | select.EPOLLRDHUP, self._ready)

    def _ready(self, _: int) -> None:
        try:
            data = self._connection.recv(65_536)
            if data:
                self._connection.sendall(self._said(data))
                return
        except BlockingIOError:
            return
        except (ssl.SSLError, subprocess.SubprocessError) as error:  # not TLS after all, or there is no certificate
            sys.stderr.write(f"a connection was closed: {error!r}\n")
        except OSError:
            pass  # reset: as if it had ended
        self._loop.forget(self._connection.fileno())
        self._connection.close()

    def _said(self, data: bytes) -> bytes:
        """The bytes to answer with."""
        if not self._begun:
            self._begun = True
            if data.startswith(secured.HANDSHAKE):
                self._tls = secured.Secured(secured.server(self._certificate), serves=True)
        if self._tls is None:
            return self._answer(data)
        if text := self._tls.feed(data):
            self._tls.say(self._answer(text))
        return self._tls.to_send()

    def _answer(self, data: bytes) -> bytes:
        if not self._head and data.split(b" ", 1)[0] not in METHODS:
            return data
        *whole, self._head = (self._head + data).split(b"\r\n\r\n")
        return b"".join(_http_answer(head) for head in whole)


def _http_answer(head: bytes) -> bytes:
    body = b"" if head.startswith(b"HEAD") else b"ok\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
