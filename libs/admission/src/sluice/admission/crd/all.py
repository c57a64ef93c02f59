"""All definitions, by file name."""

from typing import Any

from sluice.admission.crd import antrea, others


def definitions() -> dict[str, dict[str, Any]]:
    """Sorted by file name; one file for each definition."""
    made = (
        antrea.tier(),
        antrea.cluster_network_policy(),
        antrea.network_policy(),
        antrea.cluster_group(),
        antrea.group(),
        others.traffic_control(),
        others.multi_network_policy(),
    )
    return {
        f"{each['metadata']['name']}.yaml": each for each in sorted(made, key=lambda each: each["metadata"]["name"])
    }
