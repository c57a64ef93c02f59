"""When authorities and certificates of the webhook come and go. Pure: time comes in as an argument.

An authority signs only once the API server believes it: a new one is told first, and signs from the next look on. An
old one is believed until it ends, so that replicas with an older certificate are, too.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from sluice.runtime.authority import Authority, Certified, expires

AUTHORITY_DAYS, LEAF_DAYS = 365, 90
"""Each is replaced when a third of it is left, as cert-manager does."""


class Held(Struct, frozen=True, kw_only=True):
    """What the Secret holds."""

    authorities: tuple[Certified, ...]
    """The oldest first."""

    signer: int
    """Which of them signed the serving certificate."""

    serving: Certified

    @property
    def bundle(self) -> bytes:
        """Whom the API server should believe."""
        return b"".join(each.certificate for each in self.authorities)


def certified(held: Held | None, believed: Iterable[bytes], names: tuple[str, ...], now: datetime) -> Held:
    """What should be held: the same if nothing is due.

    Args:
        believed: the bundle of each webhook configuration, before anything is changed.
        names: under which the API server finds the webhook.
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
