"""MultiNetworkPolicy into the flat model."""

from typing import Any

import pytest

from sluice.contracts.ids import NEVER
from sluice.contracts.objects import MultiNetworkPolicy
from sluice.contracts.programs import BlockPeer, Direction, GroupPeer, PortRange, Program, TransportTraffic
from sluice.grouping.selectors import GroupSelector, SelectorTerm, normalise
from sluice.policy.translate import Translation, Untranslatable, groups_of, translate
from sluice.testkit.builders import multi, netpol, selector

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
WEB = normalise(selector(app="web"))


def in_x(*networks: str, pods=()) -> GroupSelector:
    return GroupSelector(terms=(SelectorTerm(namespace="x", pod_selector=pods),), networks=networks)


def translated(policy: MultiNetworkPolicy) -> Translation:
    found = translate(policy, NEVER)
    assert found.groups == groups_of(policy)
    return found


def selectors(of: Translation, program: Program) -> list[GroupSelector]:
    """Of the applied-to group, and of the peers in order."""
    peers = [peer for rule in program.rules for peer in rule.peers or () if isinstance(peer, GroupPeer)]
    return [of.groups[program.applied_to], *(of.groups[peer.group] for peer in peers)]


def test_a_program_for_each_network_and_its_peers_on_all_of_them_its_own_first():
    spec = {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}

    found = translated(multi("x/mnp", spec, about="n, y/m"))

    assert [selectors(found, program) for program in found.programs] == [
        [in_x("x/n"), in_x("x/n", "y/m", pods=WEB)],
        [in_x("y/m"), in_x("y/m", "x/n", pods=WEB)],
    ]
    assert found.problems == ()


def test_groups_of_interfaces_are_none_of_pods():
    of_pods = translate(netpol("x/np"), NEVER).programs[0].applied_to

    assert translated(multi("x/np")).programs[0].applied_to != of_pods


def test_the_order_of_networks_says_nothing_to_the_peers():
    spec: dict[str, Any] = {"ingress": [{"from": [{"podSelector": {}}]}]}
    one, other = (translated(multi("x/mnp", spec, about=text)) for text in ("a,b,c", "c,b,a"))

    assert set(one.groups) == set(other.groups)
    assert set(one.programs) == set(other.programs)


DIRECTIONS = [
    ({}, (INGRESS,)),
    ({"egress": [{}]}, (INGRESS, EGRESS)),
    ({"policyTypes": ["Ingress"], "egress": [{}]}, (INGRESS,)),
    ({"policyTypes": ["Egress"]}, (EGRESS,)),
    ({"policyTypes": ["Egress", "Ingress"]}, (INGRESS, EGRESS)),
]


@pytest.mark.parametrize(("spec", "isolates"), DIRECTIONS)
def test_policy_types_and_their_defaults(spec, isolates):
    (program,) = translated(multi("x/mnp", spec)).programs

    assert program.isolates == isolates
    assert {rule.direction for rule in program.rules} <= set(isolates)


def test_rules_are_those_of_a_network_policy():
    spec = {
        "egress": [
            {
                "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                "ports": [
                    {"port": 80, "endPort": 90},
                    {"port": "web", "protocol": "UDP"},
                    {"protocol": "SCTP"},
                ],
            }
        ]
    }

    (program,) = translated(multi("x/mnp", spec)).programs

    (rule,) = program.rules
    assert rule.peers == (BlockPeer(cidr="10.0.0.0/8", excepts=("10.1.0.0/16",)),)
    assert rule.traffic == (
        TransportTraffic(protocol="TCP", ports=PortRange(80, 90)),
        TransportTraffic(protocol="UDP", ports="web"),
        TransportTraffic(protocol="SCTP"),
    )


def test_a_block_beside_a_selector_allows_nothing_and_is_told():
    peer = {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}

    found = translated(multi("x/mnp", {"ingress": [{"from": [peer]}]}))

    assert found.programs[0].rules[0].peers == ()
    assert len(found.problems) == 1
    assert found.problems[0].startswith(
        "MultiNetworkPolicy x/mnp $.spec.ingress[0].from[0]: a peer with both an ipBlock and a selector"
    )


ABOUT_NOTHING = [
    ("", "it names no network, so the policy applies to nothing; name one"),
    ("a/b/c", '"a/b/c" is not a network; write NAME or NAMESPACE/NAME'),
]


@pytest.mark.parametrize(("about", "reason"), ABOUT_NOTHING)
def test_a_policy_about_no_network_has_no_program_and_says_so(about: str, reason: str):
    found = translated(multi("x/mnp", about=about))

    assert found.programs == ()
    where = "MultiNetworkPolicy x/mnp $.metadata.annotations.k8s.v1.cni.cncf.io/policy-for"
    assert f"{where}: {reason}" in found.problems


def test_whom_nobody_can_name_is_untranslatable():
    bad = multi("x/mnp", {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}})

    with pytest.raises(Untranslatable):
        translate(bad, NEVER)
    assert groups_of(bad) == {}
