"""Who connects to whom: by hand for a few, and held against `verdict` for many."""

from ipaddress import ip_address, ip_network

from hypothesis import given

from sluice.contracts.objects import AnyObject
from sluice.grouping.events import ObjectEvent
from sluice.policy.connectivity import PROTOCOLS, Pair, connectivity
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import AddressEnd, End, Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Outcome, verdict
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import acnp, namespace, netpol, node, pod
from sluice.testkit.strategies import OUTSIDE

PODS: list[AnyObject] = [
    namespace("x"),
    namespace("y"),
    pod("x/a", ip="10.0.0.1", ports=[("web", 8080)], app="a"),
    pod("y/b", ip="10.0.1.1", app="b"),
    pod("y/host", ip="192.168.0.1", host_network=True),
    pod("y/waiting"),
]
ALL = ((1, 65535),)


def table(*objects: AnyObject) -> dict[tuple[str, str], tuple[object, ...]]:
    return {(pair.source, pair.destination): pair.allowed for pair in connectivity(ClusterState([*PODS, *objects]))}


def test_without_policies_everything_connects() -> None:
    found = table()

    assert set(found.values()) == {(ALL, ALL, ALL)}
    assert list(found) == [
        ("x/a", "y/b"),
        ("x/a", "y/host"),
        ("y/b", "x/a"),
        ("y/b", "y/host"),
        ("y/host", "x/a"),
        ("y/host", "y/b"),
        ("x/a", "0.0.0.0/0"),
        ("0.0.0.0/0", "x/a"),
        ("y/b", "0.0.0.0/0"),
        ("0.0.0.0/0", "y/b"),
        ("y/host", "0.0.0.0/0"),
        ("0.0.0.0/0", "y/host"),
    ]


def test_ports_are_cut_out_and_joined() -> None:
    found = table(
        netpol("x/np", {"ingress": [{"ports": [{"port": 80}, {"port": 81, "endPort": 90}, {"port": "web"}]}]}),
        acnp(
            "p",
            {
                "appliedTo": [{"namespaceSelector": {}}],
                "ingress": [{"action": "Drop", "ports": [{"port": 85}]}, {"action": "Allow", "ports": [{"port": 443}]}],
            },
        ),
    )

    assert found["y/b", "x/a"] == (((80, 84), (86, 90), (443, 443), (8080, 8080)), (), ())
    assert found["x/a", "y/b"] == (((1, 84), (86, 65535)), ALL, ALL)


def test_pass_leaves_it_to_kubernetes() -> None:
    ports = [{"action": "Pass", "ports": [{"port": 80}]}, {"action": "Drop", "ports": [{"port": 1, "endPort": 100}]}]
    policy = acnp("p", {"appliedTo": [{"podSelector": {}}], "ingress": ports})

    assert table(policy)["y/b", "x/a"][0] == ((80, 80), (101, 65535))
    assert table(policy, netpol("x/np"))["y/b", "x/a"][0] == ()


def test_what_is_beyond_is_told_in_blocks() -> None:
    block = {"ipBlock": {"cidr": "128.0.0.0/1", "except": ["192.0.0.0/2"]}}
    found = table(netpol("x/np", {"ingress": [{"from": [block]}]}))

    assert {
        key: value[0] for key, value in found.items() if key[1] == "x/a" and "/" in key[0] and key[0][0].isdigit()
    } == {
        ("0.0.0.0/1", "x/a"): (),
        ("128.0.0.0/2", "x/a"): ALL,
        ("192.0.0.0/2", "x/a"): (),
    }
    assert found["x/a", "0.0.0.0/0"] == (ALL, ALL, ALL)


HOSTS: list[AnyObject] = [
    node("node-1", ip=["192.168.0.1"], role="edge"),
    node("node-2", ip=["192.168.0.2"]),
    pod("y/far", ip="10.0.2.1", node="node-2"),
    pod("y/far-host", ip="192.168.0.2", node="node-2", host_network=True),
]


def test_a_node_reaches_its_own_pods() -> None:
    found = table(*HOSTS, netpol("x/np"), netpol("y/np"))

    assert found["y/host", "x/a"] == found["y/far-host", "y/far"] == (ALL, ALL, ALL)
    assert found["y/host", "y/far"] == found["y/far-host", "x/a"] == ((), (), ())


def test_policies_on_nodes_are_about_what_runs_in_their_network() -> None:
    closed = {"action": "Drop", "ports": [{"port": 80}]}
    found = table(
        *HOSTS,
        acnp("p", {"appliedTo": [{"nodeSelector": {"matchLabels": {"role": "edge"}}}], "ingress": [closed]}),
        acnp("q", {"appliedTo": [{"podSelector": {}}], "egress": [{**closed, "to": [{"nodeSelector": {}}]}]}),
    )

    but_80 = ((1, 79), (81, 65535))
    assert found["y/far-host", "y/host"][0] == found["0.0.0.0/0", "y/host"][0] == but_80
    assert found["x/a", "y/far-host"][0] == but_80
    assert found["0.0.0.0/0", "y/far-host"][0] == found["x/a", "y/b"][0] == ALL


def test_what_is_looked_into_is_tcp() -> None:
    http = {"action": "Allow", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}], "l7Protocols": [{"http": {}}]}
    policy = acnp("p", {"appliedTo": [{"podSelector": {}}], "ingress": [http]})

    assert table(policy)["y/b", "x/a"] == (ALL, ((1, 52), (54, 65535)), ALL)


def end(text: str) -> End:
    return PodEnd(*text.split("/"))


def is_block(text: str) -> bool:
    return text[0].isdigit() or ":" in text


def allowed(state: ClusterState, source: End, destination: End, protocol: str, port: int) -> bool:
    """By one of the families."""
    outcomes = set()
    for family in (4, 6):
        packet = Packet(source=source, destination=destination, protocol=protocol, port=port, family=family)  # type: ignore[arg-type]  # of the lists
        try:
            outcomes.add(verdict(state, packet).outcome)
        except NoSuchEnd:
            continue
    return Outcome.ALLOWED in outcomes


@given(antrea_stories())
def test_it_agrees_with_verdicts(events: list[ObjectEvent]) -> None:
    state = ClusterState()
    for event in events:
        state.evolve(event)
    beyond: list[Pair] = []
    for pair in connectivity(state):
        if is_block(pair.source) or is_block(pair.destination):
            beyond.append(pair)
            continue
        for protocol, ports in zip(PROTOCOLS, pair.allowed, strict=True):
            for port in (53, 79, 80, 81, 8080, 9999):
                inside = any(first <= port <= last for first, last in ports)
                assert inside == allowed(state, end(pair.source), end(pair.destination), protocol, port), (pair, port)
    outside = [address for address in OUTSIDE if state.node_at(address) is None]  # a node is not beyond the cluster
    for address in outside:
        for pair in beyond:
            inwards = is_block(pair.source)
            block = ip_network(pair.source if inwards else pair.destination)
            if ip_address(address) not in block:
                continue
            far: End = AddressEnd(address)
            ends = (far, end(pair.destination)) if inwards else (end(pair.source), far)
            for protocol, ports in zip(PROTOCOLS, pair.allowed, strict=True):
                inside = any(first <= 80 <= last for first, last in ports)
                assert inside == allowed(state, *ends, protocol, 80), pair
