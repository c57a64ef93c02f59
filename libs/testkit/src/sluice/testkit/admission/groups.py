"""ClusterGroup and Group, alone and among others."""

from typing import Any

from sluice.testkit.admission.case import Case, crd, service

PODS: dict[str, Any] = {"podSelector": {"matchLabels": {"role": "db"}}}
SPACES: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
NODES: dict[str, Any] = {"nodeSelector": {"matchLabels": {"a": "b"}}}
BLOCKS: dict[str, Any] = {"ipBlocks": [{"cidr": "10.0.10.0/24"}]}
BLOCK: dict[str, Any] = {"ipBlock": {"cidr": "10.0.10.0/24"}}
REFERENCE: dict[str, Any] = {"serviceReference": {"name": "web", "namespace": "x"}}

WEB = service("web", {"clusterIP": "10.96.0.1", "selector": {"app": "web"}})


def cg(name: str = "a", **spec: Any) -> dict[str, Any]:
    return crd("ClusterGroup", spec, name=name)


def grp(name: str = "a", namespace: str = "x", **spec: Any) -> dict[str, Any]:
    return crd("Group", spec, name=name, namespace=namespace)


def parent(*children: str, name: str = "a") -> dict[str, Any]:
    return cg(name, childGroups=list(children))


CHILD = cg("b", **PODS)

ACCEPTED = (
    Case("Pods", cg(**PODS)),
    Case("all Pods", cg(podSelector={})),
    Case("Namespaces", cg(**SPACES)),
    Case("Pods of Namespaces", cg(**PODS, **SPACES)),
    Case("Nodes", cg(**NODES)),
    Case("blocks", cg(**BLOCKS)),
    Case(
        "blocks with excepts",
        cg(ipBlocks=[{"cidr": "10.168.0.0/16", "except": ["10.168.128.0/24", "10.168.128.7/32"]}]),
    ),
    Case("blocks of both families", cg(ipBlocks=[{"cidr": "10.0.0.0/8"}, {"cidr": "fd00::/8"}])),
    Case("blocks of multicast", cg(ipBlocks=[{"cidr": "224.1.0.0/16"}, {"cidr": "ff05::/16"}])),
    Case("a block as it was written once", cg(**BLOCK)),
    Case("a Service", cg(**REFERENCE), among=(WEB,)),
    Case("a Service to come", cg(**REFERENCE), cautions=("$.spec.serviceReference: there is no Service x/web yet",)),
    Case(
        "a Service without selector",
        cg(**REFERENCE),
        cautions=("$.spec.serviceReference: has no selector",),
        among=(service("web", {"clusterIP": "10.96.0.1"}),),
    ),
    Case("children", parent("b", "c"), among=(CHILD, cg("c", **BLOCKS))),
    Case(
        "children to come",
        parent("b", "c"),
        cautions=("$.spec.childGroups[1]: there is no group c yet",),
        among=(CHILD,),
    ),
    Case("a child of two", parent("b"), among=(CHILD, parent("b", name="c"))),
    Case("a child that changes", cg("b", **BLOCKS), among=(CHILD, parent("b"))),
    Case("a parent that changes", parent("c"), among=(CHILD, cg("c", **PODS), parent("b"))),
    Case("nobody", cg(), cautions=("$.spec: selects nothing",)),
    Case("a Group of Pods", grp(**PODS)),
    Case("a Group of Namespaces", grp(**PODS, **SPACES)),
    Case("a Group of blocks", grp(**BLOCKS)),
    Case("a Group of a Service", grp(**REFERENCE), among=(WEB,)),
    Case("a Group of Groups", grp(childGroups=["b"]), among=(grp("b", **PODS),)),
    Case(
        "a child of the same name elsewhere",
        grp(childGroups=["b"]),
        cautions=("$.spec.childGroups[0]: there is no group b yet",),
        among=(grp("b", "y", **PODS), CHILD),
    ),
    Case(
        "a Group like a ClusterGroup's child with children",
        grp("b", childGroups=["c"]),
        among=(parent("b"), grp("c", **PODS)),
    ),
)

_TWO = "in one group, but a group has only one of"

REFUSED = (
    Case("Pods and blocks", cg(**PODS, **BLOCKS), (f"$.spec: podSelector and ipBlocks {_TWO}",)),
    Case("Pods and a Service", cg(**PODS, **REFERENCE), (f"$.spec: podSelector and serviceReference {_TWO}",)),
    Case("Pods and children", cg(**PODS, childGroups=["b"]), (f"$.spec: podSelector and childGroups {_TWO}",)),
    Case("Pods and Nodes", cg(**PODS, **NODES), (f"$.spec: podSelector and nodeSelector {_TWO}",)),
    Case("Namespaces and blocks", cg(**SPACES, **BLOCKS), (f"$.spec: podSelector and ipBlocks {_TWO}",)),
    Case("a block and blocks", cg(**BLOCK, **BLOCKS), (f"$.spec: ipBlock and ipBlocks {_TWO}",)),
    Case("blocks and a Service", cg(**BLOCKS, **REFERENCE), (f"$.spec: ipBlocks and serviceReference {_TWO}",)),
    Case(
        "a Service and children",
        cg(**REFERENCE, childGroups=["b"]),
        (f"$.spec: serviceReference and childGroups {_TWO}",),
    ),
    Case(
        "three ways",
        cg(**PODS, **BLOCK, childGroups=["b"]),
        (f"$.spec: podSelector and ipBlock and childGroups {_TWO}",),
    ),
    Case("external entities", cg(externalEntitySelector={}), ("$.spec.externalEntitySelector: not supported yet",)),
    Case("a field of nobody's", cg(podSelectors={}), ("$.spec.podSelectors: did you mean `podSelector`",)),
    Case("Nodes of a Namespace", grp(**NODES), ("$.spec.nodeSelector: Nodes belong to no Namespace",)),
    Case(
        "a bad label",
        cg(podSelector={"matchLabels": {"a": "b c"}}),
        ("$.spec.podSelector.matchLabels.a: not a label value",),
    ),
    Case(
        "a bad key",
        cg(namespaceSelector={"matchLabels": {"a b": "c"}}),
        ("$.spec.namespaceSelector.matchLabels['a b']: not a label key",),
    ),
    Case(
        "values that are asked for",
        cg(podSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        ("$.spec.podSelector.matchExpressions[0].values: has no values to compare with",),
    ),
    Case(
        "another operator",
        cg(podSelector={"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
        ("$.spec.podSelector.matchExpressions[0].operator: write one of DoesNotExist, Exists, In, NotIn",),
    ),
    Case("no CIDR", cg(ipBlocks=[{"cidr": "10.0.0.1"}]), ("$.spec.ipBlocks[0].cidr: not a CIDR",)),
    Case("a block without CIDR", cg(ipBlocks=[{"except": ["10.0.0.0/8"]}]), ("$.spec.ipBlocks[0].cidr: missing",)),
    Case(
        "an except that is all",
        cg(ipBlocks=[{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]),
        ("$.spec.ipBlocks[0].except[0]: not a smaller part of",),
    ),
    Case(
        "an except elsewhere",
        cg(ipBlock={"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}),
        ("$.spec.ipBlock.except[0]: not a smaller part of",),
    ),
    Case(
        "multicast beside others",
        cg(ipBlocks=[{"cidr": "10.0.0.0/8"}, {"cidr": "224.0.0.0/8"}]),
        ("$.spec.ipBlocks[1].cidr: multicast blocks and other blocks",),
    ),
    Case(
        "a Service without Namespace",
        cg(serviceReference={"name": "web"}),
        ("$.spec.serviceReference.namespace: missing",),
    ),
    Case(
        "a Service of no name",
        cg(serviceReference={"name": "", "namespace": "x"}),
        ("$.spec.serviceReference.name: is not a valid name",),
    ),
    Case("itself as a child", parent("b", "a"), ("$.spec.childGroups[1]: is the group itself",), among=(CHILD,)),
    Case("a child by no name", parent("B_b"), ("$.spec.childGroups[0]: not a DNS name",)),
    Case(
        "a child with children",
        parent("b"),
        ('$.spec.childGroups[0]: "b" has childGroups itself',),
        among=(parent("c", name="b"), cg("c", **PODS)),
    ),
    Case(
        "children of a child",
        parent("b"),
        ("$.spec.childGroups: is itself a child of c",),
        among=(CHILD, parent("a", name="c")),
    ),
    Case(
        "a circle",
        parent("b"),
        ("$.spec.childGroups: is itself a child of b", "$.spec.childGroups[0]: has childGroups itself"),
        among=(parent("a", name="b"),),
    ),
    Case(
        "a Group with Groups with Groups",
        grp(childGroups=["b"]),
        ("$.spec.childGroups[0]: has childGroups itself",),
        among=(grp("b", childGroups=["c"]),),
    ),
)
