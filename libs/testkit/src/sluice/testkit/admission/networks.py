"""NetworkPolicy of Kubernetes, and the similar MultiNetworkPolicy, which names networks."""

from typing import Any

from sluice.testkit.admission.case import Case

FOR = "k8s.v1.cni.cncf.io/policy-for"
ANNOTATION = f"$.metadata.annotations['{FOR}']"


def plain(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "a", "namespace": "x"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def multi(networks: str | None = "net", **spec: Any) -> dict[str, Any]:
    metadata = {"name": "a", "namespace": "x"} | ({"annotations": {FOR: networks}} if networks is not None else {})
    return {"apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy", "metadata": metadata, "spec": spec}


def network(name: str, namespace: str = "x") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": metadata,
        "spec": {"config": '{"type": "accelerated-bridge"}'},
    }


NET = (network("net"),)

ACCEPTED = (
    Case("everybody", plain(podSelector={})),
    Case("both directions", plain(podSelector={}, policyTypes=["Ingress", "Egress"])),
    Case("Pods on ports", plain(podSelector={}, ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}])),
    Case("a block", plain(podSelector={}, egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])),
    Case("one network", multi(podSelector={}), among=NET),
    Case("two networks", multi("net, y/net", podSelector={}), among=(*NET, network("net", "y"))),
    Case(
        "a network to come",
        multi(podSelector={}),
        cautions=(f"{ANNOTATION}: there is no NetworkAttachmentDefinition x/net",),
    ),
    Case("no network", multi(None, podSelector={}), cautions=(f"{ANNOTATION}: names no network",)),
    Case("egress", multi(podSelector={}, egress=[{"to": [{"podSelector": {}}]}], policyTypes=["Egress"]), among=NET),
)

PEER = "$.spec.ingress[0].from[0]"
PORT = "$.spec.ingress[0].ports[0]"


def both(name: str, refused: tuple[str, ...], **spec: Any) -> tuple[Case, Case]:
    return Case(name, plain(**spec), refused), Case(name, multi(**spec), refused, among=NET)


REFUSED = (
    *both("nobody", (f"{PEER}: selects nothing",), podSelector={}, ingress=[{"from": [{}]}]),
    *both(
        "a block and Pods",
        (f"{PEER}: both an ipBlock and selectors",),
        podSelector={},
        ingress=[{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}],
    ),
    *both(
        "an except that is all",
        (f"{PEER}.ipBlock.except[0]: not a smaller part of",),
        podSelector={},
        ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}],
    ),
    *both("port 0", (f"{PORT}.port: 0 is not a port",), podSelector={}, ingress=[{"ports": [{"port": 0}]}]),
    *both(
        "a range backwards",
        (f"{PORT}.endPort: 79 is less than port 80",),
        podSelector={},
        ingress=[{"ports": [{"port": 80, "endPort": 79}]}],
    ),
    *both(
        "another type", ("$.spec.policyTypes[0]: write one of Egress, Ingress",), podSelector={}, policyTypes=["Both"]
    ),
    *both("an unknown field", ("$.spec.podselector: did you mean `podSelector`",), podselector={}),
    Case("a network by no name", multi("a/b/c", podSelector={}), (f"{ANNOTATION}: is not a network",)),
)
