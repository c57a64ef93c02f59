"""TLS for connections that somebody else reads and writes: bytes in, bytes out, no socket.

Servers show a certificate that they signed themselves and clients ask for none: the lab is about the handshake that
the network sees, not about trust.
"""

import contextlib
import functools
import os
import ssl
import subprocess
from pathlib import Path

HANDSHAKE = b"\x16\x03"
"""How a connection that speaks TLS begins: a record of this type, of any version. Source: RFC 8446, section 5.1."""

OPENSSL_S = 10.0


class Secured:
    """One end of a connection."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None, *, serves: bool = False) -> None:
        """`name` is whom a client asks for; without one its ClientHello names nobody."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=serves, server_hostname=name or None)
        self.shaken = False
        """The handshake is done, as far as this end can tell."""

        self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        """What the other end says, of the bytes that came from it.

        Raises:
            ssl.SSLError: they are no TLS.
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
        """Bytes for the other end, once."""
        return self._out.read()


@functools.cache
def client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@functools.cache
def server(certificate: Path) -> ssl.SSLContext:
    """With the certificate and key of this file, which is made if there is none.

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
        with contextlib.suppress(FileExistsError):  # several may make one at a time, and the first stays: OpenSSL opens
            os.link(own, certificate)  # the file twice, for the certificate and for its key
        own.unlink()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
