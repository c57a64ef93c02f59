"""Hypothesis strategies: secondary networks with shared addresses, and policies for them."""

from typing import Any

from hypothesis import strategies as st

from sluice.contracts import networks
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, K8sNetworkPolicy, MultiNetworkPolicy, NetworkAttachmentDefinition, Pod
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.testkit import builders
from sluice.testkit.expanders import story
from sluice.testkit.strategies import NAMESPACES, NODES, PODS, labels, netpols

NETWORKS = ("x/n", "x/m", "y/n")
ADDRESSES = tuple(f"10.1.0.{last}" for last in range(1, 5))

interfaces = st.builds(
    lambda network, addresses: f"{network}={','.join(addresses)}",
    st.sampled_from(NETWORKS),
    st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True),
)


@st.composite
def pods(draw: st.DrawFn, nodes: tuple[str, ...] = NODES) -> Pod:
    """Pods with interfaces that sometimes share addresses, on one network or on several."""
    of, name = draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(PODS))
    return builders.pod(
        f"{of}/{name}",
        node=draw(st.sampled_from(nodes)),
        uid=f"uid-{of}-{name}-{draw(st.integers(1, 2))}",
        created=draw(st.sampled_from(("", "2024-05-01T10:00:00Z", "2024-05-01T12:30:00+02:00"))),
        ports=draw(st.sampled_from(((), (("web", 80),), (("web", 81), ("dns", 53, "UDP"))))),
        labels=draw(labels),
        annotations=draw(st.sampled_from(({}, {networks.NETWORKS: "x/n"}))),
        nets=draw(st.lists(interfaces, max_size=2)),
    )


def _definition(name: str, *, trunk: bool) -> NetworkAttachmentDefinition:
    return builders.network(name, trunk=[{"id": 7}] if trunk else [])


definitions = st.builds(_definition, st.sampled_from(NETWORKS), trunk=st.booleans())


def _multi(policy: K8sNetworkPolicy, about: list[str]) -> MultiNetworkPolicy:
    metadata = builders.multi("/".join(policy.key), about=",".join(about)).metadata
    return MultiNetworkPolicy(
        api_version="k8s.cni.cncf.io/v1beta1", kind="MultiNetworkPolicy", metadata=metadata, spec=policy.spec
    )


multis = st.builds(_multi, netpols, st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3))

_network_keys = st.sampled_from(NETWORKS).map(lambda one: ObjectKey(Kind.NETWORK_ATTACHMENT, *one.split("/")))
_policy_keys = st.builds(
    ObjectKey, st.just(Kind.MULTI_NETWORK_POLICY), st.sampled_from(NAMESPACES), st.sampled_from(("np-1", "np-2"))
)
objects = st.one_of(pods(), pods(), definitions, multis)
keys = st.one_of(_network_keys, _policy_keys)


_SELECTED: tuple[dict[str, Any], ...] = (
    {"podSelector": {}},
    {"podSelector": {"matchLabels": {"app": "v1"}}},
    {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["v1"]}]}},
    {"namespaceSelector": {}},
    {"namespaceSelector": {"matchLabels": {"app": "v1"}}, "podSelector": {"matchLabels": {"app": "v2"}}},
)
_BLOCKS: tuple[dict[str, Any], ...] = tuple(
    {"ipBlock": {"cidr": cidr, "except": list(excepts)}}
    for cidr, *excepts in (
        ("10.1.0.0/24", "10.1.0.2/31"),
        ("10.1.0.0/30", "10.1.0.1/32"),
        ("10.1.0.3/32",),
        ("0.0.0.0/0", "10.1.0.0/30"),
        ("fd00::/64", "fd00::3/128"),
    )
)
_PORTS: tuple[dict[str, Any], ...] = (
    {"port": 80},
    {"port": 80, "endPort": 90},
    {"protocol": "UDP"},
    {"port": "web"},
    {"port": 53, "protocol": "UDP"},
)


@st.composite
def _rules(draw: st.DrawFn, field: str) -> list[dict[str, Any]]:
    rules = []
    for _ in range(draw(st.integers(0, 2))):
        rule: dict[str, Any] = {}
        if peers := draw(st.lists(st.sampled_from(_SELECTED + _BLOCKS), max_size=2)):
            rule[field] = peers
        if ports := draw(st.lists(st.sampled_from(_PORTS), max_size=2)):
            rule["ports"] = ports
        rules.append(rule)
    return rules


_types = st.sampled_from((["Ingress"], ["Egress"], ["Ingress", "Egress"]))


@st.composite
def policies(draw: st.DrawFn) -> MultiNetworkPolicy:
    """Policies for the Pods of one Namespace that match often."""
    spec = {"policyTypes": draw(_types), "ingress": draw(_rules("from")), "egress": draw(_rules("to"))}
    about = draw(st.sampled_from(("n", "n,m", "y/n,n")))
    return builders.multi(f"x/np-{draw(st.integers(1, 2))}", spec, about=about)


@st.composite
def neighbours(draw: st.DrawFn) -> Pod:
    """Pods on the networks of the policies, most of them on one node."""
    of, name = draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(PODS))
    return builders.pod(
        f"{of}/{name}",
        node=draw(st.sampled_from(("node-1", "node-2", "node-2"))),
        created=draw(st.sampled_from(("", "2024-05-01T10:00:00Z"))),
        ports=draw(st.sampled_from(((("web", 80),), (("web", 81),)))),
        labels=draw(labels),
        nets=draw(st.lists(interfaces, min_size=1, max_size=2)),
    )


_pod_keys = st.builds(ObjectKey, st.just(Kind.POD), st.sampled_from(NAMESPACES), st.sampled_from(PODS))
_np_keys = st.builds(ObjectKey, st.just(Kind.MULTI_NETWORK_POLICY), st.just("x"), st.sampled_from(("np-1", "np-2")))
_steps = st.lists(st.one_of(neighbours(), neighbours(), neighbours(), policies(), _pod_keys, _np_keys), max_size=10)


@st.composite
def busy_stories(draw: st.DrawFn) -> list[ObjectEvent]:
    """Histories around a policed Pod, x/policed on node-1."""
    start: list[AnyObject] = [
        *(builders.namespace(name, app="v1") for name in NAMESPACES),
        builders.pod("x/policed", nets=["n=10.1.0.9,fd00::9", "m=10.1.0.9"], ports=[("web", 80)], app="v1"),
        draw(policies()),
    ]
    return story(*start, *draw(_steps))
