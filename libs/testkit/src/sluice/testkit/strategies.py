"""Hypothesis strategies: small worlds in which objects interact a lot."""

from collections.abc import Sequence

from hypothesis import strategies as st

from sluice.contracts.ids import Address
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import (
    ENABLE_LOGGING,
    AnyObject,
    IPBlock,
    K8sNetworkPolicy,
    K8sNetworkPolicySpec,
    LabelRequirement,
    LabelSelector,
    Namespace,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    ObjectMeta,
    Operator,
    Pod,
    PolicyType,
    Protocol,
)
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.policy.packet import AddressEnd, Packet, PodEnd
from sluice.testkit import builders
from sluice.testkit.expanders import story

NAMESPACES = ("x", "y", "z")
PODS = ("a", "b", "c")
NODES = ("node-1", "node-2", "")
POD_ADDRESSES = tuple(Address(f"10.0.0.{last}") for last in range(1, 6))
OUTSIDE = (Address("192.0.2.7"), Address("192.0.2.200"), Address("198.51.100.1"))
KEYS = ("app", "tier")
VALUES = ("", "v1", "v2")
OPERATORS: tuple[Operator, ...] = ("In", "NotIn", "Exists", "DoesNotExist")
PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")
POLICY_TYPES: tuple[PolicyType, ...] = ("Ingress", "Egress")

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))


@st.composite
def _requirement(draw: st.DrawFn) -> LabelRequirement:
    operator = draw(st.sampled_from(OPERATORS))
    values: Sequence[str] = ()
    if operator in ("In", "NotIn"):
        values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3))
    return LabelRequirement(key=draw(st.sampled_from(KEYS)), operator=operator, values=tuple(values))


label_selectors = st.builds(
    LabelSelector,
    match_labels=st.one_of(st.just({}), labels),
    match_expressions=st.lists(_requirement(), max_size=2).map(tuple),
)

namespaces = st.builds(
    lambda name, labels, notes: Namespace(
        api_version="v1", kind="Namespace", metadata=ObjectMeta(name=name, labels=labels, annotations=notes)
    ),
    st.sampled_from(NAMESPACES),
    labels,
    st.sampled_from(({}, {ENABLE_LOGGING: "true"}, {ENABLE_LOGGING: "false"})),
)

_addresses = st.one_of(
    st.just(()),
    st.sampled_from(POD_ADDRESSES).map(lambda one: (one,)),
    st.sampled_from(POD_ADDRESSES).map(lambda one: (one, f"fd00::{one[-1]}")),
)


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    """Pods that sometimes share addresses, and some that are on no network."""
    of, name = draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(PODS))
    return builders.pod(
        f"{of}/{name}",
        ip=draw(_addresses),
        node=draw(st.sampled_from(NODES)),
        uid=f"uid-{of}-{name}-{draw(st.integers(1, 2))}",
        created=draw(st.sampled_from(("", "2024-05-01T10:00:00Z", "2024-05-01T12:30:00+02:00"))),
        phase=draw(st.sampled_from(("Running", "Running", "Pending", "Succeeded"))),
        host_network=draw(st.sampled_from((False, False, False, True))),
        ports=draw(st.sampled_from(((), (80,), (("web", 80),), (("web", 81), ("dns", 53, "UDP"))))),
        account=draw(st.sampled_from(("", "", "robot"))),
        labels=draw(labels),
    )


nodes = st.builds(
    builders.node,
    st.sampled_from(NODES[:2]),
    ip=st.sampled_from(((), ("192.0.2.7",), ("192.0.2.7", "2001:db8::7"), ("192.0.2.200",))),
    pod_cidrs=st.sampled_from(((), ("10.0.0.0/24", "fd00::/64"))),
    transport=st.sampled_from(("", "198.51.100.1")),
    labels=labels,
)

blocks = st.sampled_from(
    (
        IPBlock(cidr="10.0.0.0/24", except_=("10.0.0.2/32", "10.0.0.4/31")),
        IPBlock(cidr="192.0.2.0/24"),
        IPBlock(cidr="192.0.2.0/24", except_=("192.0.2.128/25",)),
        IPBlock(cidr="0.0.0.0/0"),
        IPBlock(cidr="fd00::/64", except_=("fd00::3/128",)),
    )
)

_peers = st.one_of(
    blocks.map(lambda block: NetworkPolicyPeer(ip_block=block)),
    label_selectors.map(lambda pods: NetworkPolicyPeer(pod_selector=pods)),
    label_selectors.map(lambda spaces: NetworkPolicyPeer(namespace_selector=spaces)),
    st.builds(NetworkPolicyPeer, pod_selector=label_selectors, namespace_selector=label_selectors),
)

_ports = st.one_of(
    st.builds(NetworkPolicyPort, protocol=st.sampled_from(PROTOCOLS)),
    st.builds(NetworkPolicyPort, protocol=st.sampled_from(PROTOCOLS), port=st.sampled_from((53, 80, 81))),
    st.builds(NetworkPolicyPort, port=st.sampled_from((53, 80)), end_port=st.sampled_from((80, 8080))),
    st.builds(NetworkPolicyPort, protocol=st.sampled_from(PROTOCOLS), port=st.sampled_from(("web", "dns", "none"))),
)

_ingress = st.builds(
    NetworkPolicyIngressRule,
    ports=st.lists(_ports, max_size=2).map(tuple),
    from_=st.lists(_peers, max_size=2).map(tuple),
)
_egress = st.builds(
    NetworkPolicyEgressRule, ports=st.lists(_ports, max_size=2).map(tuple), to=st.lists(_peers, max_size=2).map(tuple)
)

netpols = st.builds(
    lambda of, name, spec: K8sNetworkPolicy(
        api_version="networking.k8s.io/v1",
        kind="NetworkPolicy",
        metadata=ObjectMeta(name=name, namespace=of, uid=f"uid-{of}-{name}"),
        spec=spec,
    ),
    st.sampled_from(NAMESPACES),
    st.sampled_from(("np-1", "np-2")),
    st.builds(
        K8sNetworkPolicySpec,
        pod_selector=label_selectors,
        policy_types=st.one_of(st.none(), st.lists(st.sampled_from(POLICY_TYPES), max_size=2, unique=True).map(tuple)),
        ingress=st.lists(_ingress, max_size=2).map(tuple),
        egress=st.lists(_egress, max_size=2).map(tuple),
    ),
)

objects = st.one_of(namespaces, pods(), netpols, nodes)

_keys = st.one_of(
    st.builds(ObjectKey, st.just(Kind.NAMESPACE), st.just(""), st.sampled_from(NAMESPACES)),
    st.builds(ObjectKey, st.just(Kind.NODE), st.just(""), st.sampled_from(NODES[:2])),
    st.builds(ObjectKey, st.just(Kind.POD), st.sampled_from(NAMESPACES), st.sampled_from(PODS)),
    st.builds(
        ObjectKey, st.just(Kind.K8S_NETWORK_POLICY), st.sampled_from(NAMESPACES), st.sampled_from(("np-1", "np-2"))
    ),
)


@st.composite
def stories(
    draw: st.DrawFn,
    more: st.SearchStrategy[AnyObject] | None = None,
    more_keys: st.SearchStrategy[ObjectKey] | None = None,
) -> list[ObjectEvent]:
    """Histories of a small cluster: objects are created, changed and deleted; as many of the other kinds, if given."""
    coming = st.one_of(objects, more) if more is not None else objects
    going = st.one_of(_keys, more_keys) if more_keys is not None else _keys
    steps = draw(st.lists(st.one_of(coming, coming, coming, going), max_size=25))
    return story(*steps)


_ends = st.one_of(
    st.builds(PodEnd, st.sampled_from(NAMESPACES), st.sampled_from(PODS)),
    st.sampled_from(POD_ADDRESSES + OUTSIDE).map(AddressEnd),
)

packets = st.builds(
    Packet,
    source=_ends,
    destination=_ends,
    protocol=st.sampled_from((*PROTOCOLS, "ICMP")),
    port=st.sampled_from((53, 80, 81, 9999)),
)
