"""Random Antrea-native policies for the Namespaces, labels and ports of `strategies`, as written in YAML."""

from typing import Any

from hypothesis import strategies as st

from sluice.contracts.objects import AnyObject
from sluice.testkit import builders
from sluice.testkit.strategies import KEYS, NAMESPACES, VALUES

TIERS = ("emergency", "application", "", "baseline")

_selectors = st.one_of(
    st.just({}),
    st.builds(lambda key, value: {"matchLabels": {key: value}}, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.builds(
        lambda key, operator: {"matchExpressions": [{"key": key, "operator": operator}]},
        st.sampled_from(KEYS),
        st.sampled_from(("Exists", "DoesNotExist")),
    ),
)
_blocks = st.sampled_from(
    (
        {"cidr": "10.0.0.0/24", "except": ["10.0.0.2/32", "10.0.0.4/31"]},
        {"cidr": "10.0.0.4/30"},
        {"cidr": "fd00::/64", "except": ["fd00::3/128"]},
        {"cidr": "::/0"},
    )
)
_pods = st.builds(lambda pods: {"podSelector": pods}, _selectors)
_pods_of = st.builds(lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, _selectors, _selectors)
_self = st.builds(lambda pods: {"namespaces": {"match": "Self"}, "podSelector": pods}, _selectors)
_peers = st.one_of(_pods, _pods_of, st.builds(lambda block: {"ipBlock": block}, _blocks))
_ports = st.sampled_from(
    (
        {"protocol": "TCP", "port": 80},
        {"protocol": "TCP", "port": 53, "endPort": 81},
        {"protocol": "TCP", "port": "web"},
        {"protocol": "UDP", "port": "dns"},
        {"protocol": "UDP", "sourcePort": 40000, "sourceEndPort": 40003},
        {"protocol": "TCP", "port": 8080, "sourcePort": 1024},
        {"protocol": "SCTP"},
    )
)
_protocols = st.sampled_from(({"icmp": {}}, {"icmp": {"icmpType": 8}}, {"icmp": {"icmpType": 128, "icmpCode": 0}}))


@st.composite
def _spec(draw: st.DrawFn, *, cluster: bool) -> dict[str, Any]:
    tier = draw(st.sampled_from(TIERS))
    actions = ("Allow", "Drop", "Reject") if tier == "baseline" else ("Allow", "Drop", "Reject", "Pass", "Deny")
    applied = st.lists(_pods_of if cluster else _pods, min_size=1, max_size=2)
    each = draw(st.booleans())
    spec: dict[str, Any] = {"priority": draw(st.sampled_from((1, 1.5, 5)))} | ({"tier": tier} if tier else {})
    for direction, whom in (("ingress", "from"), ("egress", "to")):
        spec[direction] = []
        for _ in range(draw(st.integers(0, 2))):
            rule: dict[str, Any] = {"action": draw(st.sampled_from(actions))}
            rule[whom] = draw(st.lists(_peers | _self if cluster else _peers, max_size=2))
            rule["ports"] = draw(st.lists(_ports, max_size=2))
            rule["protocols"] = draw(st.lists(_protocols, max_size=1))
            if each:
                rule["appliedTo"] = draw(applied)
            spec[direction].append(rule)
    return spec if each else spec | {"appliedTo": draw(applied)}


SERVICES = ("x/web", "x/dns", "y/web")

_served = st.sampled_from(SERVICES).map(lambda key: {"namespace": key.split("/")[0], "name": key.split("/")[1]})


@st.composite
def _about_services(draw: st.DrawFn) -> dict[str, Any]:
    """Egress rules about Services, or ingress rules that apply to their NodePorts."""
    tier = draw(st.sampled_from(TIERS))
    actions = ("Allow", "Drop", "Reject") if tier == "baseline" else ("Allow", "Drop", "Reject", "Pass")
    spec: dict[str, Any] = {"priority": draw(st.sampled_from((1, 1.5, 5)))} | ({"tier": tier} if tier else {})
    if draw(st.booleans()):
        to = st.lists(_served, min_size=1, max_size=2)
        rules = st.builds(
            lambda action, services: {"action": action, "toServices": services}, st.sampled_from(actions), to
        )
        return spec | {"appliedTo": [draw(_pods_of)], "egress": draw(st.lists(rules, min_size=1, max_size=2))}
    blocks = st.lists(st.sampled_from(CLIENT_BLOCKS).map(lambda cidr: {"ipBlock": {"cidr": cidr}}), max_size=2)
    some_ports = st.lists(st.sampled_from(({"protocol": "TCP", "port": 80}, {"protocol": "UDP"})), max_size=1)
    doors = st.builds(
        lambda action, blocks, ports: {"action": action, "from": blocks, "ports": ports},
        st.sampled_from(actions),
        blocks,
        some_ports,
    )
    return spec | {"appliedTo": [{"service": draw(_served)}], "ingress": draw(st.lists(doors, min_size=1, max_size=2))}


CLIENT_BLOCKS = ("192.0.2.0/25", "192.0.2.128/25", "0.0.0.0/0", "2001:db8::/64", "::/0")

about_services: st.SearchStrategy[AnyObject] = st.builds(
    builders.acnp, st.sampled_from(("s", "s-1", "s-2")), _about_services()
)
"""ClusterNetworkPolicies about Services."""

policies: st.SearchStrategy[AnyObject] = st.one_of(
    st.builds(builders.acnp, st.sampled_from(("p", "p-1")), _spec(cluster=True)),
    st.builds(
        lambda of, name, spec: builders.annp(f"{of}/{name}", spec),
        st.sampled_from(NAMESPACES),
        st.sampled_from(("p", "p-1")),
        _spec(cluster=False),
    ),
)
"""Both policy kinds of crd.antrea.io: tiers, baseline, every action, appliedTo on either level."""

REQUESTS: tuple[dict[str, Any], ...] = (
    {"http": {}},
    {"http": {"path": "/a/*"}},
    {"http": {"host": "*.foo.com", "method": "GET"}},
    {"tls": {}},
    {"tls": {"sni": "a.foo.com"}},
)
_tcp = st.sampled_from(({"protocol": "TCP", "port": 80}, {"protocol": "TCP", "port": 53, "endPort": 81}))


@st.composite
def _about_requests(draw: st.DrawFn) -> dict[str, Any]:
    """Layer 7 rules, with others before and after them."""
    tier = draw(st.sampled_from(TIERS))
    spec: dict[str, Any] = {"priority": draw(st.sampled_from((1, 1.5, 5)))} | ({"tier": tier} if tier else {})
    for direction, whom in (("ingress", "from"), ("egress", "to")):
        spec[direction] = []
        for number in range(draw(st.integers(0, 2))):
            judged = draw(st.lists(st.sampled_from(REQUESTS), max_size=2))
            action = "Allow" if judged else draw(st.sampled_from(("Allow", "Drop", "Reject")))
            rule = {"name": f"{direction}-{number}", "action": action, whom: draw(st.lists(_peers, max_size=2))}
            spec[direction].append(rule | {"ports": draw(st.lists(_tcp, max_size=1)), "l7Protocols": judged})
    return spec | {"appliedTo": draw(st.lists(_pods, min_size=1, max_size=2))}


about_requests: st.SearchStrategy[AnyObject] = st.builds(
    lambda of, name, spec: builders.annp(f"{of}/{name}", spec),
    st.sampled_from(NAMESPACES),
    st.sampled_from(("r", "r-1")),
    _about_requests(),
)
"""NetworkPolicies of crd.antrea.io with `l7Protocols`."""
