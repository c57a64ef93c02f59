"""The order of policies, without decoding all of them: a page costs its own rows, and a quick look at the others."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts import codec, subjects
from sluice.contracts.antrea import tier_name
from sluice.contracts.codec import Undecodable
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import POLICIES, Kind
from sluice.contracts.objects import Tier
from sluice.policy.listing import Place, place, source, tier_priorities
from sluice.services.query_api import answers
from sluice.services.query_api.mirrors import Version
from sluice.services.query_api.moments import Moment

_TIERED = frozenset((Kind.CLUSTER_NETWORK_POLICY, Kind.ANTREA_NETWORK_POLICY))
_OURS = tuple(f"objects.{kind}." for kind in POLICIES)


class _Spec(Struct):
    priority: float
    tier: str = ""


class _Tiered(Struct):
    """The fields that determine a policy's position."""

    spec: _Spec


class _Standing(NamedTuple):
    """The position of one version of a policy."""

    revision: Revision
    namespace: str
    place: Place | None
    """None if it is unreadable."""


class Places:
    """Finds pages. Positions of current policies are cached until the policy or a tier changes."""

    def __init__(self) -> None:
        self._tiers: Mapping[str, int] = {}
        self._standing: dict[str, _Standing] = {}

    def page(self, there: Moment, namespace: str | None, limit: int, after: str) -> tuple[list[str], str]:
        """The subjects of the policies on this page, in the order of enforcement, and what to continue with.

        Raises:
            Problem: `after` is not what a page ended with.
        """
        begin = _begin(after) if after else None
        found = sorted(
            (one.place, subject)
            for subject, one in self._now(there).items()
            if one.place is not None and namespace in (None, one.namespace) and (begin is None or one.place > begin)
        )
        more = answers.encoded(codec.encode(found[limit - 1][0]).decode()) if len(found) > limit else ""
        return [subject for _, subject in found[:limit]], more

    def _now(self, there: Moment) -> Mapping[str, _Standing]:
        """The position of each policy, by subject."""
        tiers = tier_priorities(one for one in there.objects((Kind.TIER,)) if isinstance(one, Tier))
        known = self._standing if tiers == self._tiers else {}
        found: dict[str, _Standing] = {}
        for subject, version in there.values.items():
            if subject.startswith(_OURS):
                one = known.get(subject)
                if one is None or one.revision != version.revision:
                    one = _standing(subject, version, tiers)
                found[subject] = one
        if there.is_now:
            self._tiers, self._standing = tiers, found
        return found


def _standing(subject: str, version: Version, tiers: Mapping[str, int]) -> _Standing:
    key = subjects.known(subject)
    if not isinstance(key, subjects.ObjectSubject):
        return _Standing(version.revision, "", None)
    of = source(*key)
    if key.kind not in _TIERED:
        return _Standing(version.revision, key.namespace, place(of, None, None))
    try:
        spec = codec.decode(version.body, _Tiered).spec
    except Undecodable:
        return _Standing(version.revision, key.namespace, None)
    return _Standing(version.revision, key.namespace, place(of, tiers.get(tier_name(spec.tier)), spec.priority))


def _begin(after: str) -> Place:
    try:
        return codec.decode(answers.decoded(after).encode(), Place)
    except Undecodable:
        raise answers.no_page(after) from None
