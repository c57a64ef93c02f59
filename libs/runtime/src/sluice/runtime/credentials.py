"""The credentials of a bus client and the authorities it trusts: files in one folder, read for each connection.

To rotate a key or a certificate, replace its file; the next connection uses it.
"""

import ssl
from pathlib import Path

import nats.errors
import nkeys
from msgspec import Struct

from sluice.contracts.identities import OWNER, Identity

SEED = "seed"
AUTHORITY = "ca.crt"
CERTIFICATE = "tls.crt"
KEY = "tls.key"


class BadCredentials(nats.errors.Error):
    """A file is not what it should be; the message says which. Another try may find another."""


class NotEncrypted(nats.errors.Error):
    """The server offers no TLS. Nothing was said to it."""


class Credentials(Struct, frozen=True, kw_only=True):
    """Of one identity."""

    identity: Identity
    folder: Path
    """With the NKEY seed in `seed`, the authorities to believe in `ca.crt`, and, where the server asks for one, a
    client certificate in `tls.crt` and `tls.key`."""

    server_name: str = ""
    """What the server's certificate has to be for; empty: the host of its URL."""

    @property
    def owns_streams(self) -> bool:
        return self.identity == OWNER

    @property
    def seed(self) -> Path:
        """The identity's own file, if the folder has one: then it may hold those of several."""
        own = self.folder / seed_file(self.identity)
        return own if own.exists() else self.folder / SEED

    def public_key(self) -> str:
        """Of the seed as it is now.

        Raises:
            OSError: it cannot be read; BadCredentials: it is none.
        """
        return public_key(self.seed)

    def tls(self) -> ssl.SSLContext:
        """Of the certificates as they are now.

        Raises:
            OSError: one is missing, or none.
        """
        context = ssl.create_default_context(cafile=str(self.folder / AUTHORITY))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if (self.folder / CERTIFICATE).exists():
            context.load_cert_chain(self.folder / CERTIFICATE, self.folder / KEY)
        return context


def seed_file(identity: Identity) -> str:
    """Its name in a folder of several."""
    return f"{identity.text}.{SEED}"


def public_key(seed: Path) -> str:
    """Of the seed in this file.

    Raises:
        OSError: it cannot be read; BadCredentials: it is none.
    """
    try:
        pair = nkeys.from_seed(bytearray(seed.read_bytes().strip()))
        public: bytes = pair.public_key
        pair.wipe()
    except (nkeys.NkeysError, ValueError) as error:
        raise BadCredentials(f"{seed}: not the seed of an NKEY; `sluice admin keys` makes them") from error
    return public.decode()
