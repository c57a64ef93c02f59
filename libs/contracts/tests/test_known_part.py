"""What is read of a policy that this version does not wholly know."""

from typing import Any, NamedTuple

import msgspec
import pytest

from sluice.contracts import codec, known_part
from sluice.contracts.kinds import RESOURCES, SELF_CONTAINED, Kind
from sluice.contracts.objects import (
    K8sNetworkPolicy,
    LabelRequirement,
    LabelSelector,
    MultiNetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    PartlyKnownSpec,
    UnknownPeer,
    UnknownPort,
)

WEB: dict[str, Any] = {"matchLabels": {"app": "web"}}
PEER = {"podSelector": WEB}
KNOWN = LabelSelector(match_labels={"app": "web"})
KNOWN_PEER = NetworkPolicyPeer(pod_selector=KNOWN)
NOBODY, NO_PORT = UnknownPeer(), UnknownPort()


class Case(NamedTuple):
    name: str
    spec: dict[str, Any]
    left: dict[str, Any]
    """What is left: fields of the spec that are not as in a spec with nothing but a podSelector of everything."""

    unknown: tuple[str, ...]


def ingress(*peers: Any, ports: Any = (), **more: Any) -> dict[str, Any]:
    return {"ingress": [{"from": list(peers), "ports": list(ports), **more}]}


def opens(*peers: NetworkPolicyPeer, ports: tuple[NetworkPolicyPort, ...] = ()) -> dict[str, Any]:
    return {"ingress": (NetworkPolicyIngressRule(from_=peers, ports=ports),)}


BOTH = ("Ingress", "Egress")
FROM = "$.spec.ingress[0].from"
CASES = [
    Case(
        "a peer of an unknown field",
        ingress(PEER, {"accountSelector": {}}),
        opens(KNOWN_PEER, NOBODY),
        (f"{FROM}[1]: Object contains unknown field `accountSelector`",),
    ),
    Case(
        "a peer with a field more",
        ingress({**PEER, "on": "n1"}),
        opens(NOBODY),
        (f"{FROM}[0]: Object contains unknown field `on`",),
    ),
    Case(
        "a block with a field more",
        ingress({"ipBlock": {"cidr": "10.0.0.0/8", "zone": "a"}}),
        opens(NOBODY),
        (f"{FROM}[0].ipBlock: Object contains unknown field `zone`",),
    ),
    Case(
        "a peer's selector with a field more",
        ingress({"namespaceSelector": {**WEB, "matchNames": ["x"]}}),
        opens(NOBODY),
        (f"{FROM}[0].namespaceSelector: Object contains unknown field `matchNames`",),
    ),
    Case(
        "a requirement with a field more",
        ingress({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "fold": True}]}}),
        opens(NOBODY),
        (f"{FROM}[0].podSelector.matchExpressions[0]: Object contains unknown field `fold`",),
    ),
    Case(
        "an unknown operator",
        ingress({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}),
        opens(NOBODY),
        (f"{FROM}[0].podSelector.matchExpressions[0].operator: Invalid enum value 'Gt'",),
    ),
    Case(
        "an unknown protocol",
        ingress(PEER, ports=[{"protocol": "QUIC"}, {"port": 80}]),
        opens(KNOWN_PEER, ports=(NO_PORT, NetworkPolicyPort(port=80))),
        ("$.spec.ingress[0].ports[0].protocol: Invalid enum value 'QUIC'",),
    ),
    Case(
        "a port with a field more",
        ingress(PEER, ports=[{"port": 80, "icmp": 8}]),
        opens(KNOWN_PEER, ports=(NO_PORT,)),
        ("$.spec.ingress[0].ports[0]: Object contains unknown field `icmp`",),
    ),
    Case(
        "a rule with a field more",
        ingress(PEER, ports=[{"port": 80}], action="Deny"),
        opens(NOBODY),
        ("$.spec.ingress[0].action: unknown field",),
    ),
    Case(
        "a null that would select more",
        ingress({"podSelector": {"matchLabels": {"app": None}}}),
        opens(NOBODY),
        (f"{FROM}[0].podSelector.matchLabels[...]: Expected `str`, got `null`",),
    ),
    Case(
        "peers and ports that are no lists, and a rule that is none",
        {"ingress": [{"from": "all", "ports": [{"port": 80}]}, {"ports": {}}, None]},
        {
            "ingress": (
                NetworkPolicyIngressRule(from_=(NOBODY,), ports=(NetworkPolicyPort(port=80),)),
                NetworkPolicyIngressRule(ports=(NO_PORT,)),
                NetworkPolicyIngressRule(from_=(NOBODY,)),
            )
        },
        (
            f"{FROM}: Expected `array`, got `str`",
            "$.spec.ingress[1].ports: Expected `array`, got `object`",
            "$.spec.ingress[2]: Expected `object`, got `null`",
        ),
    ),
    Case(
        "an egress rule with a field more isolates egress",
        {"egress": [{"to": [PEER], "over": "vpn"}, {"ports": [{"port": 53}]}]},
        {
            "policy_types": BOTH,
            "egress": (
                NetworkPolicyEgressRule(to=(NOBODY,)),
                NetworkPolicyEgressRule(ports=(NetworkPolicyPort(port=53),)),
            ),
        },
        ("$.spec.egress[0].over: unknown field",),
    ),
    Case(
        "rules that are no list",
        {"egress": "none"},
        {"policy_types": BOTH},
        ("$.spec.egress: Expected `array`, got `str`",),
    ),
    Case(
        "an unknown field of the spec closes everything",
        {"podSelector": WEB, "policyTypes": ["Ingress"], "on": "n1", **ingress(PEER)},
        {"pod_selector": KNOWN, "policy_types": BOTH},
        ("$.spec.on: unknown field",),
    ),
    Case(
        "an unknown type isolates in both directions",
        {"policyTypes": ["Forward"], **ingress(PEER)},
        {"policy_types": BOTH, **opens(KNOWN_PEER)},
        ("$.spec.policyTypes[0]: Invalid enum value 'Forward'",),
    ),
    Case(
        "of the Pods it selects, the known part is isolated",
        {
            "podSelector": {
                **WEB,
                "matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Gt"}],
                "matchNames": [],
            },
            **ingress(PEER),
        },
        {
            "pod_selector": LabelSelector(
                match_labels={"app": "web"}, match_expressions=(LabelRequirement(key="a", operator="Exists"),)
            )
        },
        ("$.spec.podSelector.matchExpressions[1].operator: Invalid enum value 'Gt'",),
    ),
    Case("a selector that is none", {"podSelector": 7}, {}, ("$.spec.podSelector: Expected `object`, got `int`",)),
]


def policy(kind: Kind, spec: Any, **metadata: Any) -> bytes:
    resource = RESOURCES[kind]
    whole = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "p", "namespace": "x", **metadata},
    }
    return codec.encode({**whole, "spec": spec})


@pytest.mark.parametrize("kind", sorted(SELF_CONTAINED))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_left(case: Case, kind: Kind) -> None:
    made = known_part.decode(kind, policy(kind, case.spec))

    assert isinstance(made, K8sNetworkPolicy | MultiNetworkPolicy)
    assert made.spec == PartlyKnownSpec(**{"policy_types": ("Ingress",), **case.left}, unknown=case.unknown)
    assert made.key == ("x", "p")


def test_what_is_known_is_read_as_it_is() -> None:
    body = policy(Kind.K8S_NETWORK_POLICY, {"podSelector": WEB, **ingress(PEER)}, later="field")

    assert known_part.decode(Kind.K8S_NETWORK_POLICY, body) == codec.decode(body, K8sNetworkPolicy)


NOT_AT_ALL = [
    ("no JSON", Kind.K8S_NETWORK_POLICY, b"{"),
    ("no object", Kind.K8S_NETWORK_POLICY, b"[]"),
    ("a spec that is none", Kind.K8S_NETWORK_POLICY, policy(Kind.K8S_NETWORK_POLICY, [])),
    ("no name", Kind.MULTI_NETWORK_POLICY, policy(Kind.MULTI_NETWORK_POLICY, {"on": 1}, name=None)),
    (
        "another kind",
        Kind.CLUSTER_NETWORK_POLICY,
        policy(Kind.CLUSTER_NETWORK_POLICY, {"priority": 1, "ingress": [{"action": "Drop", "on": "n1"}]}),
    ),
    (
        "another kind, in a selector",
        Kind.CLUSTER_GROUP,
        policy(Kind.CLUSTER_GROUP, {"podSelector": {**WEB, "matchNames": ["x"]}}),
    ),
]


@pytest.mark.parametrize(("kind", "body"), [row[1:] for row in NOT_AT_ALL], ids=[row[0] for row in NOT_AT_ALL])
def test_what_is_not_read_at_all(kind: Kind, body: bytes) -> None:
    with pytest.raises(codec.Undecodable):
        known_part.decode(kind, body)


def test_written_out_again_it_stays_closed() -> None:
    """Nobody does so; if somebody did, it would not open."""
    made = known_part.decode(Kind.K8S_NETWORK_POLICY, policy(Kind.K8S_NETWORK_POLICY, ingress({"on": 1})))

    again = known_part.decode(Kind.K8S_NETWORK_POLICY, msgspec.json.encode(made))

    assert isinstance(again, K8sNetworkPolicy)
    assert (again.spec.policy_types, again.spec.ingress, again.spec.egress) == (BOTH, (), ())
