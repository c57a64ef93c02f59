"""The ConfigMap `antrea-config`, which switches features of Antrea on, read as a hint at what its users rely on.

It configures nothing here. Most alpha features of Antrea are always available in Sluice. Each setting is answered with
what it means here, so that nobody searches for it, or believes the feature to be off.

Source of the names: Antrea, pkg/features/antrea_features.go; docs "Antrea Layer 7 NetworkPolicy", "Traffic Control".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sluice.kube import yaml_text
from sluice.kube.nodes import Malformed, Map, plain

NAME = "antrea-config"
_FILES = ("antrea-agent.conf", "antrea-controller.conf")
_ON = "always on here"

GATES: Mapping[str, str] = {
    "AntreaPolicy": f"{_ON}: policies of crd.antrea.io are enforced as soon as they exist",
    "AntreaProxy": "Sluice balances Services itself; there is nothing to set",
    "EndpointSlice": f"{_ON}: endpoints are read only from EndpointSlices",
    "TrafficControl": f"{_ON}: a TrafficControl is in force as soon as it exists",
    "L7NetworkPolicy": f"{_ON}: a rule with l7Protocols is in force as soon as it exists, on nodes that run node-l7",
    "NodeNetworkPolicy": f"{_ON}: a policy applied to a nodeSelector is in force on nodes that run node-host",
    "Multicast": f"{_ON}: among Pods, over IPv4; multicast to and from hosts outside the cluster is dropped",
    "NetworkPolicyStats": f"{_ON}: every rule is counted; `sluice get policies` shows the counters",
}
"""What each feature gate means here."""

OFFLOAD = "disableTXChecksumOffload"
_OFFLOAD_MEANS = (
    "Sluice has no such setting and does not change interfaces; node-ovs warns if packets to be inspected lack "
    "checksums"
)


def hints(config: Map) -> tuple[str, ...]:
    """What the settings of the ConfigMap mean here, sorted; empty if it is a different ConfigMap. Never raises."""
    whole: Any = plain(config)  # Any: JSON
    metadata, held = whole.get("metadata"), whole.get("data")
    if not isinstance(metadata, dict) or metadata.get("name") != NAME or not isinstance(held, dict):
        return ()
    return tuple(sorted({hint for name in _FILES for hint in _of_file(name, held.get(name))}))


def _of_file(name: str, content: object) -> Iterator[str]:
    if not isinstance(content, str):
        return
    try:
        documents = [plain(node) for chunk in yaml_text.chunks(content) for node in yaml_text.documents(chunk)]
    except Malformed as error:
        yield f"{name}: line {error.line}: {error.reason}"
        return
    for said in documents:
        if not isinstance(said, dict):
            continue
        if said.get(OFFLOAD) is True:
            yield f"{OFFLOAD}: {_OFFLOAD_MEANS}"
        gates = said.get("featureGates")
        for gate, value in gates.items() if isinstance(gates, dict) else ():
            yield _of_gate(str(gate), value)


def _of_gate(gate: str, value: object) -> str:
    means = GATES.get(gate)
    if means is None:
        return f"{gate}: Sluice has no such feature, so the setting has no effect here"
    if value is False and means.startswith(_ON):
        return f"{gate}: off in Antrea, but {means}; it cannot be switched off, so remove what must not be in force"
    return f"{gate}: {means}"
