"""Secondary networks of a scenario: does what the network plugins would do for a Pod that requests an interface.

As in a cluster, a Pod requests an interface by annotation and gets an address from each range of the network; the
result is in its network-status. A Pod that comes with a network-status keeps it.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from msgspec.structs import replace

from sluice.contracts import codec, networks
from sluice.contracts.ids import Address
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import Pod
from sluice.kube.manifest import Document, parse
from sluice.lab.scenario import Network

PLUGIN = "accelerated-bridge"
"""The plugin that the networks claim to use."""

FIRST = 2
"""The first address given out: after the network's own, and the one usually taken for a gateway."""


class NoSuchNetwork(ValueError):
    """The Pod requests a network that the scenario does not define: which one, and what to do."""


class Attaching:
    """Assigns addresses; none is assigned twice."""

    def __init__(self, known: tuple[Network, ...]) -> None:
        self._known = {each.name: each for each in known}
        self._given: dict[str, int] = {}

    def definitions(self) -> Iterator[Document]:
        """The NetworkAttachmentDefinition of each network."""
        resource = RESOURCES[Kind.NETWORK_ATTACHMENT]
        for each in self._known.values():
            namespace, _, name = each.name.partition("/")
            conf = {"type": PLUGIN, **({"trunk": [{"minID": 1, "maxID": 4094}]} if each.trunk else {})}
            made = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"config": codec.encode(conf).decode()},
            }
            (document,) = parse(codec.encode(made), "lab.json")
            assert isinstance(document, Document), document
            yield document

    def attached(self, pod: Pod, before: Pod | None) -> Pod:
        """The Pod with its interfaces: those of `before`, the same Pod's earlier version, if its request is the same.

        Raises:
            NoSuchNetwork: see there.
        """
        notes = pod.metadata.annotations
        asked = notes.get(networks.NETWORKS, "")
        if not self._known or not asked or networks.STATUS in notes:
            return pod
        if before is not None and before.metadata.annotations.get(networks.NETWORKS) == asked:
            status = before.metadata.annotations[networks.STATUS]
        else:
            status = codec.encode(list(self._reports(pod, asked))).decode()
        return replace(pod, metadata=replace(pod.metadata, annotations={**notes, networks.STATUS: status}))

    def _reports(self, pod: Pod, asked: str) -> Iterator[Mapping[str, Any]]:
        try:
            requests = networks.requests(asked, pod.metadata.namespace)
        except networks.BadAnnotation as error:
            raise NoSuchNetwork(f"{networks.NETWORKS}: {error}") from error
        for place, request in enumerate(requests, start=1):
            known = self._known.get(request.network)
            if known is None:
                raise NoSuchNetwork(
                    f"it asks for {request.network}, which is none of the scenario's: add it to spec.networks"
                )
            ips = [self._next(cidr) for cidr in known.cidrs]
            yield {"name": request.network, "interface": request.interface or f"net{place}", "ips": ips}

    def _next(self, cidr: str) -> Address:
        number = self._given[cidr] = self._given.get(cidr, FIRST - 1) + 1
        return Address(str(ip_network(cidr)[number]))
