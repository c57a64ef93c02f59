"""A server that clients of all kinds meet: it answers requests, also inside of TLS, speaks first, or says all again."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

HTTP_PORT, TLS_PORT, BANNER_PORT, ECHO_PORT = 80, 443, 22, 9000

MET_S = 3.0
"""A connection that was not accepted by then never was one."""

TCP_CLOSE = 7
"""The first octet of `tcp_info` of a connection that was reset; one that the client closed waits for us. Source: Linux
`include/net/tcp_states.h`."""


class Server:
    """Serves in the network namespace of whoever calls `serve`, in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: list[bytes] = []
        """The heads of the requests that were whole here, and what reached the other ports."""

        self._seen_from: dict[int, list[bytes]] = {}
        self._met: set[int] = set()
        self._reset: set[int] = set()

    def serve(self) -> None:
        certificate = self._certificate()
        for port in (HTTP_PORT, TLS_PORT, BANNER_PORT, ECHO_PORT):
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
            threading.Thread(target=self._accept, args=(listener, port, certificate), daemon=True).start()

    def seen_from(self, source: int) -> list[bytes]:
        """The same, of the connection from this port of a client's alone: others may still be read to their ends."""
        return list(self._seen_from.get(source, ()))

    def was_reset(self, source: int, within_s: float) -> bool:
        """The connection from this port of a client's ended in a reset, for the server as well.

        Or it had none: a reset that overtakes the last packet of the handshake is for nobody yet.
        """
        began = time.monotonic()
        while source not in self._reset and time.monotonic() < began + (within_s if source in self._met else MET_S):
            time.sleep(0.005)
        return source in self._reset or source not in self._met

    def _accept(self, listener: socket.socket, port: int, certificate: Path) -> None:
        while True:
            connection, (_, source, *_) = listener.accept()
            self._met.add(source)
            threading.Thread(target=self._one, args=(connection, source, port, certificate), daemon=True).start()

    def _one(self, connection: socket.socket, source: int, port: int, certificate: Path) -> None:
        with connection.dup() as same, connection:  # what wraps a socket takes it away
            with contextlib.suppress(OSError):
                self._serve(connection, source, port, certificate)
            if same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE:
                self._reset.add(source)

    def _see(self, source: int, what: bytes) -> None:
        self.seen.append(what)
        self._seen_from.setdefault(source, []).append(what)

    def _serve(self, connection: socket.socket, source: int, port: int, certificate: Path) -> None:
        match port:
            case 443:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                connection.recv(1, socket.MSG_PEEK)  # one that is reset by now cannot be wrapped
                with context.wrap_socket(connection, server_side=True) as secured:
                    self._requests(secured, source)
            case 22:
                connection.sendall(b"SSH-2.0-server\r\n")
                self._see(source, connection.recv(1 << 16))
            case 9000:
                while data := connection.recv(1 << 16):
                    self._see(source, data)
                    connection.sendall(data)
            case _:
                self._requests(connection, source)

    def _requests(self, connection: socket.socket, source: int) -> None:
        """Answer each whole request; bodies are as long as they say, or chunked."""
        got = b""
        while data := connection.recv(1 << 16):
            got += data
            while (parted := _parted(got)) is not None:
                head, got = parted
                self._see(source, head)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def _certificate(self) -> Path:
        key, path = self._folder / "key.pem", self._folder / "both.pem"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        words += ["-keyout", str(key), "-out", str(path), "-days", "2", "-subj", "/CN=server"]
        subprocess.run(words, check=True, capture_output=True, timeout=30)
        path.write_text(path.read_text() + key.read_text())
        return path


def _parted(got: bytes) -> tuple[bytes, bytes] | None:
    """The first request, body left out, and what follows; None while it is not whole."""
    for end in (b"\r\n\r\n", b"\n\n"):
        head, found, rest = got.partition(end)
        if not found:
            continue
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            _, closed, after = (b"\r\n" + rest).partition(b"\r\n0\r\n\r\n")
            return (head, after) if closed else None
        length = 0
        for line in lowered.splitlines():
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return (head, rest[length:]) if len(rest) >= length else None
    return None
