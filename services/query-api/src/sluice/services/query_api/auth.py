"""Who may ask what: bearer tokens with scopes, and client certificates. Nothing is open beyond loopback."""

import hmac
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from fastapi import Request
from msgspec import Struct

from sluice.runtime.settings import ConfigError
from sluice.services.query_api import certificates
from sluice.services.query_api.problems import Problem

_CN = "CN="

LOCAL = "local"
"""Name of callers on loopback, where no authentication is required."""


class Scope(StrEnum):
    READ = "read"
    CONTENT = "content"
    """Packet payloads and URLs: user content."""

    WRITE = "write"
    """Change objects."""


class Caller(Struct, frozen=True):
    name: str
    scopes: frozenset[Scope]
    by: Literal["token", "certificate", "loopback"] = "token"
    """How the caller was identified."""


class Tokens:
    """The callers in a file, one per line; `#` starts a comment.

    NAME SCOPE,SCOPE SHA256-OF-THE-TOKEN    the bearer of the token
    NAME SCOPE,SCOPE CN=COMMON NAME         the holder of a certificate with this name, issued by the client CA
    """

    def __init__(self, callers: Iterable[tuple[str, Caller]] = ()) -> None:
        known = list(callers)
        self._callers = [one for one in known if not one[0].startswith(_CN)]
        self._certified = {key.removeprefix(_CN): caller for key, caller in known if key.startswith(_CN)}

    def __bool__(self) -> bool:
        """True if there are any tokens."""
        return bool(self._callers)

    @classmethod
    def read(cls, file: Path) -> "Tokens":
        """Read a file.

        Raises:
            ConfigError: it is unreadable; the message says where and why.
        """
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: tokens cannot be read: {error}") from error
        return cls(
            _caller(f"{file}:{number}", line.split())
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.lstrip().startswith("#")
        )

    def caller(self, token: str) -> Caller | None:
        """The caller with this token."""
        given = sha256(token.encode()).hexdigest()
        found = None
        for held, caller in self._callers:  # no early exit: the time taken must reveal nothing
            if hmac.compare_digest(held, given):
                found = caller
        return found

    def certified(self, name: str) -> Caller | None:
        """The caller whose certificate has this common name."""
        return self._certified.get(name)


class Gate:
    """Authenticates and authorises requests."""

    def __init__(self, tokens: Tokens, trusted: frozenset[Scope]) -> None:
        """`trusted`: the scopes of callers without a token; empty if strangers may connect."""
        self._tokens, self._trusted = tokens, trusted

    def caller(self, request: Request) -> Caller:
        """Who sent the request.

        Raises:
            Problem: the caller is unknown.
        """
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            caller = self._tokens.caller(token.strip())
            if caller is None:
                raise Problem(401, "the token is not known; ask whoever runs this API for one")
            return caller
        name = certificates.name_of(request)
        if name and (caller := self._tokens.certified(name)):
            return caller
        if not self._trusted:
            raise Problem(401, "a token is missing: send Authorization: Bearer TOKEN")
        return Caller(name or LOCAL, self._trusted, "certificate" if name else "loopback")

    def require(self, request: Request, scope: Scope) -> Caller:
        """Return who sent the request, if they have the scope.

        Raises:
            Problem: the caller is unknown or lacks the scope.
        """
        caller = self.caller(request)
        if scope not in caller.scopes:
            raise Problem(403, f"{caller.name} lacks the scope {scope}")
        return caller


def trusted(host: str, *, has_tokens: bool, client_scopes: str | None) -> frozenset[Scope]:
    """The scopes of callers without a token.

    Args:
        client_scopes: the scopes of callers with a client certificate; None if certificates are not requested.

    Raises:
        ConfigError: strangers would have access.
    """
    if client_scopes is not None:
        return _scopes("SLUICE_QUERY_API_CLIENT_SCOPES", client_scopes)
    if has_tokens:
        return frozenset()
    if not _is_loopback(host):
        raise ConfigError(
            f"SLUICE_QUERY_API_HOST={host}: anybody who reaches this address could use the API; set "
            "SLUICE_QUERY_API_TOKENS, or SLUICE_QUERY_API_CLIENT_CA with a certificate and a key, or listen on "
            "127.0.0.1"
        )
    return frozenset(Scope)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _caller(where: str, words: list[str]) -> tuple[str, Caller]:
    match words:
        case [name, scopes, digest] if len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
            return digest, Caller(name, _scopes(where, scopes))
        case [name, scopes, *rest] if (certificate := " ".join(rest)).startswith(_CN) and certificate != _CN:
            return certificate, Caller(name, _scopes(where, scopes), "certificate")
        case _:
            raise ConfigError(
                f"{where}: write NAME SCOPE,SCOPE SHA256, the last of these as 64 hex digits of the token, or "
                "NAME SCOPE,SCOPE CN=NAME, the last as a client's certificate says it"
            )


def _scopes(where: str, text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(one) for one in text.split(",") if text)
    except ValueError:
        raise ConfigError(f"{where}: {text!r}: scopes are {', '.join(Scope)}") from None
