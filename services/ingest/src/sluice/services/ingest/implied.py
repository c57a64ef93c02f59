"""Objects that exist though no file says so: the system tiers. In a Kubernetes status-writer makes them."""

from sluice.contracts import codec
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.system_tiers import system_tier
from sluice.kube.manifest import Document, parse


def system_tiers() -> list[Document]:
    """Those that always exist, as documents."""
    texts = [codec.encode(system_tier(name)) for name in STATIC_TIERS]
    return [found for text in texts for found in parse(text, "system tiers.json") if isinstance(found, Document)]
