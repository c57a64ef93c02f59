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
    """A file is not valid; the message names it. A later attempt may succeed, with another file."""


class NotEncrypted(nats.errors.Error):
    """The server offers no TLS. Nothing was sent to it."""


class Credentials(Struct, frozen=True, kw_only=True):
    """Credentials of one identity."""

    identity: Identity
    folder: Path
    """Holds the NKEY seed in `seed`, the trusted authorities in `ca.crt` and, if the server requires one, a client
    certificate in `tls.crt` and `tls.key`."""

    server_name: str = ""
    """Name that the server's certificate must be issued for; empty: the host of the URL."""

    @property
    def owns_streams(self) -> bool:
        return self.identity == OWNER

    @property
    def seed(self) -> Path:
        """The identity's own seed file if there is one, as in a folder for several identities; else the common one."""
        own = self.folder / seed_file(self.identity)
        return own if own.exists() else self.folder / SEED

    def public_key(self) -> str:
        """The public key of the current seed.

        Raises:
            OSError: the seed cannot be read.
            BadCredentials: the seed is invalid.
        """
        return public_key(self.seed)

    def tls(self) -> ssl.SSLContext:
        """A TLS context with the current certificates.

        Raises:
            OSError: a certificate is missing or invalid.
        """
        context = ssl.create_default_context(cafile=str(self.folder / AUTHORITY))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if (self.folder / CERTIFICATE).exists():
            context.load_cert_chain(self.folder / CERTIFICATE, self.folder / KEY)
        return context


def seed_file(identity: Identity) -> str:
    """Name of the identity's seed file in a folder with several."""
    return f"{identity.text}.{SEED}"


def public_key(seed: Path) -> str:
    """The public key of the seed in this file.

    Raises:
        OSError: the file cannot be read.
        BadCredentials: it is not a seed.
    """
    try:
        pair = nkeys.from_seed(bytearray(seed.read_bytes().strip()))
        public: bytes = pair.public_key
        pair.wipe()
    except (nkeys.NkeysError, ValueError) as error:
        raise BadCredentials(f"{seed}: not the seed of an NKEY; `sluice admin keys` creates them") from error
    return public.decode()
