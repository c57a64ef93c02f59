"""When the webhook's CAs and certificates are created and retired. Pure: time is passed in as an argument.

A CA signs only once the API server trusts it: a new one is announced first, and signs from the next check on. An old CA
stays trusted until it expires, so that replicas with an older certificate keep working.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from sluice.runtime.authority import Authority, Certified, expires

AUTHORITY_DAYS, LEAF_DAYS = 365, 90
"""Lifetimes. Each is replaced when a third of its lifetime is left, as in cert-manager."""


class Held(Struct, frozen=True, kw_only=True):
    """The contents of the Secret."""

    authorities: tuple[Certified, ...]
    """Oldest first."""

    signer: int
    """Index of the authority that signed the serving certificate."""

    serving: Certified

    @property
    def bundle(self) -> bytes:
        """The CA bundle for the API server."""
        return b"".join(each.certificate for each in self.authorities)


def certified(held: Held | None, believed: Iterable[bytes], names: tuple[str, ...], now: datetime) -> Held:
    """What should be held now; unchanged if nothing is due.

    Args:
        believed: the bundle of each webhook configuration, before any change.
        names: the DNS names by which the API server reaches the webhook.
    """
    if held is None:
        authority = Authority.make(now, "webhook", AUTHORITY_DAYS)
        return Held(authorities=(authority.certified,), signer=0, serving=authority.server(names, now, LEAF_DAYS))
    newest = held.authorities[-1]
    if _due(newest.certificate, AUTHORITY_DAYS, now):
        newest = Authority.make(now, "webhook", AUTHORITY_DAYS).certified
        held = replace(held, authorities=(*held.authorities, newest))
    last = len(held.authorities) - 1
    promoted = held.signer != last and all(newest.certificate in bundle for bundle in believed)
    if promoted or _due(held.serving.certificate, LEAF_DAYS, now):
        signer = last if promoted else held.signer
        serving = Authority(held.authorities[signer]).server(names, now, LEAF_DAYS)
        held = replace(held, signer=signer, serving=serving)
    ended = sum(1 for each in held.authorities[: held.signer] if expires(each.certificate) <= now)
    return replace(held, authorities=held.authorities[ended:], signer=held.signer - ended) if ended else held


def _due(certificate: bytes, days: float, now: datetime) -> bool:
    return expires(certificate) - now < timedelta(days=days) / 3
