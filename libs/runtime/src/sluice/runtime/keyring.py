"""The keys of a whole bus, in a folder that only its operator may read: identities, their keys, and the authority.

    ring.json                 the identities, and which public keys are accepted; nothing secret
    authority/                ca.crt, ca.key, and earlier.crt while certificates of an earlier authority are accepted
    server/                   files for nats-server: bus.conf, tls.crt, tls.key, ca.crt
    identities/<identity>/    files for one client: seed, ca.crt, and tls.crt and tls.key if servers require them

A new key is accepted beside the old one until the old one is retired; the same goes for authorities. Each file is
replaced atomically. Files that accept a key are written before files that present it, so a crash in between locks
nobody out.
"""

import json
import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self, get_args

import msgspec
import nkeys
from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.identities import OPERATOR, SERVICES, Identity
from sluice.runtime import accounts
from sluice.runtime.authority import Authority, Certified, expires
from sluice.runtime.credentials import AUTHORITY, CERTIFICATE, KEY, SEED, Credentials

RING = "ring.json"
CONFIGURATION = "bus.conf"
EARLIER = "earlier.crt"
AUTHORITY_KEY = "ca.key"


class BadKeyring(ValueError):
    """The folder is not a keyring, or lacks what was requested; the message says what to do."""


class PublicKey(Struct, frozen=True, kw_only=True):
    key: str
    since: datetime


class Holder(Struct, frozen=True, kw_only=True):
    """One identity and its public keys."""

    kind: str
    name: str
    current: PublicKey
    earlier: tuple[PublicKey, ...] = ()
    """Old keys that are still accepted, for clients that do not have the current one yet."""

    @property
    def identity(self) -> Identity:
        return Identity(self.kind, self.name)  # type: ignore[arg-type]  # checked when it was read


class Ring(Struct, frozen=True, kw_only=True):
    """The content of ring.json."""

    server_names: tuple[str, ...]
    client_certificates: bool
    holders: tuple[Holder, ...] = ()


class Row(NamedTuple):
    """One line of a listing."""

    identity: str
    key: str
    since: datetime
    earlier: int
    """Number of old keys that are still accepted."""

    expires: datetime | None
    """Expiry of its certificate; None without one."""


def everybody(nodes: Iterable[str] = ()) -> list[Identity]:
    """The operator, all central services, and these nodes."""
    return [OPERATOR, *(Identity("service", name) for name in sorted(SERVICES)), *(Identity("node", n) for n in nodes)]


class Keyring:
    def __init__(self, folder: Path, ring: Ring) -> None:
        self.folder = folder
        self._ring = ring

    @classmethod
    def create(cls, folder: Path, server_names: Iterable[str], now: datetime, *, client_certificates: bool) -> Self:
        """Create a keyring with an authority and a server certificate, but no identities.

        Raises:
            BadKeyring: the folder already has one.
        """
        if (folder / RING).exists():
            raise BadKeyring(f"{folder}: there is already a keyring; add identities to it, or rotate its keys")
        names = tuple(sorted(set(server_names)))
        if not names:
            raise BadKeyring(
                f"{folder}: the names or addresses by which clients reach the servers are missing; give --server"
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ring = cls(folder, Ring(server_names=names, client_certificates=client_certificates))
        ring._keep_authority(Authority.make(now))
        ring._certify_server(now)
        ring._store()
        return ring

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The keyring in this folder.

        Raises:
            BadKeyring: there is none.
        """
        try:
            ring = msgspec.json.decode((folder / RING).read_bytes(), type=Ring)
        except FileNotFoundError as error:
            raise BadKeyring(f"{folder}: no keyring; `sluice admin keys create` creates one") from error
        except msgspec.MsgspecError as error:
            raise BadKeyring(f"{folder / RING}: {error}") from error
        for holder in ring.holders:
            if holder.kind not in get_args(Identity.__annotations__["kind"]):
                raise BadKeyring(f"{folder / RING}: {holder.kind} {holder.name}: no such kind of identity")
        return cls(folder, ring)

    # ------------------------------------------------------------------------------------------------------- queries

    @property
    def ring(self) -> Ring:
        return self._ring

    @property
    def server(self) -> Path:
        """Folder of the files that a nats-server needs."""
        return self.folder / "server"

    @property
    def identities(self) -> list[Identity]:
        return [holder.identity for holder in self._ring.holders]

    def credentials(self, identity: Identity) -> Credentials:
        """The credentials of an identity in the keyring.

        Raises:
            BadKeyring: it is not in the keyring.
        """
        self._holder(identity)
        return Credentials(identity=identity, folder=self._place(identity))

    def rows(self) -> list[Row]:
        found = []
        for holder in self._ring.holders:
            certificate = self._place(holder.identity) / CERTIFICATE
            ends = expires(certificate.read_bytes()) if certificate.exists() else None
            found.append(Row(holder.identity.text, holder.current.key, holder.current.since, len(holder.earlier), ends))
        return found

    def expiries(self) -> dict[str, datetime]:
        """When the certificates of the authority and the server expire."""
        return {
            "authority": expires((self._authority / AUTHORITY).read_bytes()),
            "server": expires((self.server / CERTIFICATE).read_bytes()),
        }

    def configuration(self, at: Path | None = None) -> str:
        """TLS and accounts for nats-server; it will find the files of `server/` in `at` (default: where they are)."""
        place = at or self.server.absolute()
        keys = {
            holder.identity: [key.key for key in (holder.current, *holder.earlier)] for holder in self._ring.holders
        }
        tls = [
            "tls {",
            f"  cert_file: {json.dumps(str(place / CERTIFICATE))}",
            f"  key_file: {json.dumps(str(place / KEY))}",
            f"  ca_file: {json.dumps(str(place / AUTHORITY))}",
            f"  verify: {json.dumps(self._ring.client_certificates)}",
            '  min_version: "1.3"',
            "  timeout: 5",
            "}",
        ]
        return "\n".join([*tls, accounts.configuration(keys)])

    # ------------------------------------------------------------------------------------------------------ changing

    def add(self, identities: Iterable[Identity], now: datetime) -> list[Identity]:
        """Create keys for the identities that have none yet; returns these identities."""
        known = set(self.identities)
        new = [identity for identity in identities if identity not in known]
        for identity in new:
            self._accept(Holder(kind=identity.kind, name=identity.name, current=self._make_key(identity, now)))
            self._show(identity, now)
        self._store()
        return new

    def rotate(self, identities: Iterable[Identity], now: datetime) -> None:
        """Create new keys; the old ones are still accepted until they are retired.

        Raises:
            BadKeyring: an identity is not in the keyring.
        """
        for identity in identities:
            holder = self._holder(identity)
            current = self._make_key(identity, now)
            self._accept(replace(holder, current=current, earlier=(holder.current, *holder.earlier)))
            self._store()
            self._show(identity, now)

    def retire(self, before: datetime, identities: Iterable[Identity] | None = None) -> int:
        """Stop accepting keys that were replaced before that time; returns how many.

        `identities` None: those of all identities, and the earlier authority as well.
        """
        chosen = set(self.identities if identities is None else identities)
        retired = 0
        for holder in self._ring.holders:
            if holder.identity in chosen and holder.current.since <= before and holder.earlier:
                retired += len(holder.earlier)
                self._accept(replace(holder, earlier=()))
        if identities is None:
            (self._authority / EARLIER).unlink(missing_ok=True)
            self._tell_authorities()
        self._store()
        return retired

    def remove(self, identities: Iterable[Identity]) -> None:
        """Stop accepting any of their keys.

        Raises:
            BadKeyring: an identity is not in the keyring.
        """
        for identity in identities:
            gone = self._holder(identity)
            self._ring = replace(self._ring, holders=tuple(h for h in self._ring.holders if h is not gone))
            self._store()
            shutil.rmtree(self._place(identity), ignore_errors=True)

    def renew(self, now: datetime, *, authority: bool = False) -> None:
        """Renew the certificates of server and clients; `authority`: from a new one; the old one stays trusted."""
        if authority:
            old = (self._authority / AUTHORITY).read_bytes()
            _write(self._authority / EARLIER, old)
            self._keep_authority(Authority.make(now))
            self._tell_authorities()
        self._certify_server(now)
        if self._ring.client_certificates:
            for identity in self.identities:
                self._certify(identity, now)

    # --------------------------------------------------------------------------------------------------------- files

    @property
    def _authority(self) -> Path:
        return self.folder / "authority"

    def _place(self, identity: Identity) -> Path:
        return self.folder / "identities" / identity.text

    def _holder(self, identity: Identity) -> Holder:
        for holder in self._ring.holders:
            if holder.identity == identity:
                return holder
        raise BadKeyring(f"{identity.text}: not in the keyring {self.folder}; add it by `sluice admin keys create`")

    def _accept(self, holder: Holder) -> None:
        others = [other for other in self._ring.holders if other.identity != holder.identity]
        self._ring = replace(self._ring, holders=tuple(sorted([*others, holder], key=lambda each: each.identity)))

    def _store(self) -> None:
        """Write the ring and the configuration of the server, which accepts what the ring says."""
        _write(self.folder / RING, msgspec.json.format(msgspec.json.encode(self._ring), indent=2) + b"\n")
        _write(self.server / CONFIGURATION, self.configuration().encode())

    def _make_key(self, identity: Identity, now: datetime) -> PublicKey:
        """Store a new seed in the identity's folder, beside the one in use."""
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        _write(self._place(identity) / f"{SEED}.new", bytes(seed) + b"\n")
        public = nkeys.from_seed(bytearray(seed)).public_key.decode()
        return PublicKey(key=public, since=now)

    def _show(self, identity: Identity, now: datetime) -> None:
        """Put the newest seed of the identity into use, with the files that go with it."""
        place = self._place(identity)
        (place / f"{SEED}.new").replace(place / SEED)
        _write(place / AUTHORITY, self._believed())
        if self._ring.client_certificates:
            self._certify(identity, now)

    def _keep_authority(self, authority: Authority) -> None:
        _write(self._authority / AUTHORITY_KEY, authority.certified.key)
        _write(self._authority / AUTHORITY, authority.certified.certificate)

    def _signer(self) -> Authority:
        place = self._authority
        return Authority(Certified((place / AUTHORITY).read_bytes(), (place / AUTHORITY_KEY).read_bytes()))

    def _believed(self) -> bytes:
        earlier = self._authority / EARLIER
        return (self._authority / AUTHORITY).read_bytes() + (earlier.read_bytes() if earlier.exists() else b"")

    def _tell_authorities(self) -> None:
        """Distribute the trusted authorities to all; to be called before a certificate of a new authority is used."""
        for place in (self.server, *map(self._place, self.identities)):
            _write(place / AUTHORITY, self._believed())

    def _certify_server(self, now: datetime) -> None:
        _write(self.server / AUTHORITY, self._believed())
        self._put(self.server, self._signer().server(self._ring.server_names, now))

    def _certify(self, identity: Identity, now: datetime) -> None:
        self._put(self._place(identity), self._signer().client(identity.text, now))

    def _put(self, place: Path, certified: Certified) -> None:
        """Write both files; a reader in between finds that they do not match, and reads again."""
        _write(place / KEY, certified.key)
        _write(place / CERTIFICATE, certified.certificate)


def parse(text: str) -> Identity:
    """Parse an identity: `node.node-1`, `service.ingest`, or `ingest` for short.

    Raises:
        BadKeyring: the text is not an identity.
    """
    kind, dot, name = text.partition(".")
    if not dot and text in SERVICES:
        return Identity("service", text)
    identity = {
        "service": Identity("service", name),
        "node": Identity("node", subjects.name(name) if "_" in name else name),
        "person": OPERATOR if name == OPERATOR.name else None,
    }.get(kind)
    if not identity or not name or (kind == "service" and name not in SERVICES):
        raise BadKeyring(
            f"{text}: not an identity; give node.NAME, {OPERATOR.text}, or a service: {', '.join(sorted(SERVICES))}"
        )
    return identity


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _write(path: Path, content: bytes) -> None:
    """Write the file atomically, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
