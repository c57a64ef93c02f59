"""The tiers that always exist, as Tier objects."""

from sluice.contracts.antrea import STATIC_TIERS, Tier, TierSpec
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.pieces import ObjectMeta

DESCRIPTIONS: dict[str, str] = {
    "emergency": "above all others, for incidents",
    "securityops": "for the security team",
    "networkops": "for the network team",
    "platform": "for the platform team",
    "application": "the default, for application teams",
    "baseline": "below Kubernetes NetworkPolicies, for defaults",
}


def system_tier(name: str) -> Tier:
    """The Tier object of one of STATIC_TIERS."""
    resource = RESOURCES[Kind.TIER]
    return Tier(
        api_version=resource.api_version,
        kind=resource.kind,
        metadata=ObjectMeta(name=name),
        spec=TierSpec(priority=STATIC_TIERS[name], description=f"[READ-ONLY]: System tier, {DESCRIPTIONS[name]}"),
    )
