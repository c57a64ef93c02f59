"""Hypothesis strategies: secondary networks in which addresses meet, and policies of them."""

from hypothesis import strategies as st

from sluice.contracts import networks
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import K8sNetworkPolicy, MultiNetworkPolicy, NetworkAttachmentDefinition, Pod
from sluice.grouping.events import ObjectKey
from sluice.testkit import builders
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
    """Pods with interfaces that share addresses now and then, on one network and on several."""
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
