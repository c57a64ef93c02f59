"""NetworkPolicy of networking.k8s.io/v1, and what MultiNetworkPolicy shares with it.

Source: Kubernetes, pkg/apis/networking/validation/validation.go.

Types, operators, protocols and policy types are not checked here: the structs accept nothing else.
"""

from collections.abc import Iterator, Sequence

from sluice.admission import addresses, established, label_selector, names
from sluice.admission.refusal import Refusal
from sluice.contracts import jsonpath
from sluice.contracts.objects import (
    IPBlock,
    K8sNetworkPolicy,
    MultiNetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)

PORTS = range(1, 65536)


def refusals(policy: K8sNetworkPolicy | MultiNetworkPolicy) -> Iterator[Refusal]:
    spec = policy.spec
    yield from established.refusals(policy.metadata)
    yield from label_selector.refusals(spec.pod_selector, "$.spec.podSelector")
    for index, ingress in enumerate(spec.ingress):
        here = jsonpath.item("$.spec.ingress", index)
        yield from _of_ports(ingress.ports, f"{here}.ports")
        yield from _of_peers(ingress.from_, f"{here}.from")
    for index, egress in enumerate(spec.egress):
        here = jsonpath.item("$.spec.egress", index)
        yield from _of_ports(egress.ports, f"{here}.ports")
        yield from _of_peers(egress.to, f"{here}.to")
    if len(spec.policy_types or ()) > 2:  # Ingress and Egress; repeating one is allowed
        yield Refusal(
            "$.spec.policyTypes", "more than two types, but there are only Ingress and Egress; name each once"
        )


def _of_ports(ports: Sequence[NetworkPolicyPort], path: str) -> Iterator[Refusal]:
    for index, port in enumerate(ports):
        yield from _of_port(port, jsonpath.item(path, index))


def _of_port(port: NetworkPolicyPort, path: str) -> Iterator[Refusal]:
    match port.port:
        case None if port.end_port is not None:
            yield Refusal(f"{path}.port", "missing, but endPort is given; give the first port, or remove endPort")
        case str(name):
            if reason := names.port_name(name):
                yield Refusal(f"{path}.port", reason)
            if port.end_port is not None:
                yield Refusal(
                    f"{path}.endPort", "a range cannot begin with a name; give port a number, or remove endPort"
                )
        case int(first):
            if first not in PORTS:
                yield Refusal(f"{path}.port", f"{first} is not a port; give one of 1 to 65535")
            if port.end_port is not None and port.end_port not in PORTS:
                yield Refusal(f"{path}.endPort", f"{port.end_port} is not a port; give one of 1 to 65535")
            elif port.end_port is not None and port.end_port < first:
                yield Refusal(
                    f"{path}.endPort", f"{port.end_port} is less than port {first}; write the lower one as port"
                )
        case None:
            pass


def _of_peers(peers: Sequence[NetworkPolicyPeer], path: str) -> Iterator[Refusal]:
    for index, peer in enumerate(peers):
        yield from _of_peer(peer, jsonpath.item(path, index))


def _of_peer(peer: NetworkPolicyPeer, path: str) -> Iterator[Refusal]:
    if peer.pod_selector is not None:
        yield from label_selector.refusals(peer.pod_selector, f"{path}.podSelector")
    if peer.namespace_selector is not None:
        yield from label_selector.refusals(peer.namespace_selector, f"{path}.namespaceSelector")
    selects = peer.pod_selector is not None or peer.namespace_selector is not None
    if peer.ip_block is not None:
        yield from of_block(peer.ip_block, f"{path}.ipBlock")
        if selects:
            yield Refusal(path, "a peer with both an ipBlock and selectors; write two peers")
    elif not selects:
        yield Refusal(
            path, "a peer that selects nothing; give it podSelector, namespaceSelector or ipBlock, or remove it"
        )


def of_block(block: IPBlock, path: str) -> Iterator[Refusal]:
    whole = addresses.cidr(block.cidr)
    if isinstance(whole, str):
        yield Refusal(f"{path}.cidr", whole)
        return
    for index, inner in enumerate(block.except_):
        if reason := addresses.excepted(inner, whole):
            yield Refusal(jsonpath.item(f"{path}.except", index), reason)
