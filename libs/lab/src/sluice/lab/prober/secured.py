"""TLS for connections that somebody else reads and writes: bytes in, bytes out, no socket.

Servers present a self-signed certificate and clients do not verify it: the lab is about the handshake that the network
sees, not about trust.
"""

import contextlib
import functools
import os
import ssl
import subprocess
from pathlib import Path

HANDSHAKE = b"\x16\x03"
"""How a TLS connection begins: a record of type handshake, of any version. Source: RFC 8446, section 5.1."""

OPENSSL_S = 10.0


class Secured:
    """One end of a connection."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None, *, serves: bool = False) -> None:
        """`name` is the server name that a client requests; without one its ClientHello has no SNI."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=serves, server_hostname=name or None)
        self.shaken = False
        """The handshake is complete, as far as this end can tell."""

        self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        """Decrypt bytes from the other end.

        Raises:
            ssl.SSLError: they are not TLS.
        """
        self._in.write(data)
        text = b""
        try:
            if not self.shaken:
                self._tls.do_handshake()
                self.shaken = True
            while more := self._tls.read(1 << 16):
                text += more
        except ssl.SSLWantReadError:
            pass
        return text

    def say(self, text: bytes) -> None:
        self._tls.write(text)

    def to_send(self) -> bytes:
        """Take the pending bytes for the other end."""
        return self._out.read()


@functools.cache
def client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@functools.cache
def server(certificate: Path) -> ssl.SSLContext:
    """A server context with the certificate and key in this file, which is created if missing.

    Raises:
        OSError, subprocess.SubprocessError: `openssl` is missing, or failed.
    """
    if not certificate.exists():
        own = certificate.with_suffix(f".{os.getpid()}")
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        words += ["-keyout", "/dev/stdout", "-days", "3650", "-subj", "/CN=pod"]
        made = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=OPENSSL_S,
            check=True,
        )
        own.write_bytes(made.stdout)
        with contextlib.suppress(FileExistsError):  # if several create one, the first stays: OpenSSL opens
            os.link(own, certificate)  # the file twice, for the certificate and for its key
        own.unlink()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
