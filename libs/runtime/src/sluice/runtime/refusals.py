"""Recognises refusals by the server in nats-py's errors, which have no class of their own; their text is lower case."""

import re
import ssl
from typing import NamedTuple

import nats.errors

from sluice.runtime.credentials import BadCredentials, NotEncrypted

_DENIED = re.compile(r'permissions violation for (publish|subscription) (?:with reply of )?(?:to )?"([^"]*)"')


class Denial(NamedTuple):
    """We are connected, but the server denied an operation."""

    action: str
    """publish or subscription"""

    subject: str
    """In lower case."""


def denial(error: Exception) -> Denial | None:
    found = _DENIED.search(str(error))
    return Denial(found[1], found[2]) if found else None


def refusal(error: Exception) -> str | None:
    """One word for a refused connection, if the reason is our identity or the server's; None for other reasons."""
    match error:
        case ssl.SSLCertVerificationError():
            return "server_certificate"
        case ssl.SSLError():
            return "certificate"
        case NotEncrypted():
            return "not_encrypted"
        case BadCredentials():
            return "credentials"
        case nats.errors.AuthorizationError():
            return "authorization"
        case nats.errors.Error() if "authorization violation" in str(error).lower():
            return "authorization"
        case _:
            return None
