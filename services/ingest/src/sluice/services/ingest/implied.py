"""Objects that exist without being in a file: the system tiers. In Kubernetes, status-writer creates them."""

from sluice.contracts import codec
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.system_tiers import system_tier
from sluice.kube.manifest import Document, parse


def system_tiers() -> list[Document]:
    """The system tiers, as documents."""
    texts = [codec.encode(system_tier(name)) for name in STATIC_TIERS]
    return [found for text in texts for found in parse(text, "system tiers.json") if isinstance(found, Document)]
