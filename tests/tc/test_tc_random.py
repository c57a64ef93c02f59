"""Three witnesses: `verdict`, the walker, and the kernel, on random policies; and the last two on random filters."""

import os
import random
from typing import Any

import pytest
from tests.tc import randomly, scene
from tests.tc.scene import MATRIX, PODS, Cell, name

from sluice.contracts.objects import AnyObject
from sluice.dataplane.tc.content import NO_OPTIONS
from sluice.lab.guest.guest import Guest
from sluice.testkit import builders
from sluice.testkit.tc_node import TcNode, frame

pytestmark = [pytest.mark.guest, pytest.mark.timeout(300)]

QUICK_SEEDS, WHOLE_SEEDS = tuple(range(60)), tuple(range(100, 112))
POLICY_SEEDS = range(int(os.environ.get("SLUICE_TC_POLICIES", "8")))
"""`SLUICE_TC_POLICIES=100 ./task test tests/tc/test_tc_random.py` takes some three minutes."""

WHOLE_POLICY_SEEDS = range(1_000, 1_003)


def test_random_filters(quick: Guest) -> None:
    judge(QUICK_SEEDS, quick.call(randomly.passed, QUICK_SEEDS, False), zones=False)


def test_random_filters_in_a_zone(whole: Guest) -> None:
    judge(WHOLE_SEEDS, whole.call(randomly.passed, WHOLE_SEEDS, True), zones=True)


def judge(seeds: tuple[int, ...], found: dict[int, list[bool]], *, zones: bool) -> None:
    wrong, outcomes = [], []
    for seed in seeds:
        given = randomly.case(seed, zones=zones)
        said = randomly.walked(given)
        outcomes += said
        for place, (by_walker, by_kernel) in enumerate(zip(said, found[seed], strict=True)):
            if by_walker != by_kernel:
                wrong.append((seed, place, given.frames[place], f"walker {by_walker}, kernel {by_kernel}"))
    assert not wrong, f"{len(wrong)} of {len(outcomes)}: {wrong[:3]}"
    assert 0.2 < sum(outcomes) / len(outcomes) < 0.8, "too much of one kind to say much"


@pytest.mark.parametrize("seed", POLICY_SEEDS)
def test_random_policies(seed: int, quick: Guest) -> None:
    policies = random_policies(seed)

    agree(policies, quick.call(scene.play, policies, False, NO_OPTIONS), zones=False)


@pytest.mark.parametrize("seed", WHOLE_POLICY_SEEDS)
def test_random_policies_in_zones(seed: int, whole: Guest) -> None:
    policies = random_policies(seed)

    agree(policies, whole.call(scene.play, policies, True, NO_OPTIONS), zones=True)


def agree(policies: tuple[AnyObject, ...], found: dict[Cell, bool], *, zones: bool) -> None:
    by_verdict, by_walker = scene.expected(policies), walk(policies, zones=zones)
    wrong = [
        (cell, by_verdict[cell], by_walker[cell], found[cell])
        for cell in MATRIX
        if not by_verdict[cell] == by_walker[cell] == found[cell]
    ]

    assert not wrong, f"verdict, walker, kernel: {wrong[:5]} of {policies}"


def walk(policies: tuple[AnyObject, ...], *, zones: bool) -> dict[Cell, bool]:
    node = TcNode.of(*scene.cluster(*policies), zones=zones).apply()
    keys = {member.pod: key for key, member in node.engine.interfaces.items()}
    found: dict[Cell, bool] = {}
    for number, cell in enumerate(MATRIX):
        source, to, protocol, port, family = cell
        six = family == 6
        sent = frame(PODS[source][six], PODS[to][six], protocol, port, source_port=1_000 + number)
        found[cell] = node.sends(sent, keys.get(source), keys.get(to))
    return found


def random_policies(seed: int) -> tuple[AnyObject, ...]:
    """One to three policies of every form, about the Pods of the scene."""
    chance = random.Random(seed)
    return tuple(
        builders.multi(f"{chance.choice('xxxy')}/p{number}", _spec(chance), about="x/net")
        for number in range(chance.randint(1, 3))
    )


def _spec(chance: random.Random) -> dict[str, Any]:
    types = chance.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"], None))
    spec: dict[str, Any] = {"podSelector": _selector(chance), **({"policyTypes": types} if types else {})}
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        rules = [_rule(chance, peers) for _ in range(chance.randint(0, 2))]
        if rules and (types is None or direction.title() in types):
            spec[direction] = rules
    return spec


def _rule(chance: random.Random, peers: str) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    if chance.random() < 0.8:
        rule[peers] = [_peer(chance) for _ in range(chance.randint(1, 2))]
    if chance.random() < 0.7:
        rule["ports"] = [_port(chance) for _ in range(chance.randint(1, 2))]
    return rule


def _peer(chance: random.Random) -> dict[str, Any]:
    match chance.randint(0, 5):
        case 0:
            return {"podSelector": _selector(chance)}
        case 1:
            return {"namespaceSelector": _namespaces(chance)}
        case 2:
            return {"podSelector": _selector(chance), "namespaceSelector": _namespaces(chance)}
        case 3:
            return {"ipBlock": {"cidr": "10.0.0.0/24", "except": [chance.choice(("10.0.0.2/32", "10.0.0.2/31"))]}}
        case 4:
            return {"ipBlock": {"cidr": "fd00::/64", "except": [chance.choice(("fd00::2/128", "fd00::2/127"))]}}
        case _:
            return {"ipBlock": {"cidr": chance.choice(("fd00::/64", "0.0.0.0/0", "10.0.0.3/32", "::/0"))}}


def _port(chance: random.Random) -> dict[str, Any]:
    choices: tuple[dict[str, Any], ...] = (
        {"port": 80},
        {"port": "web"},
        {"port": 80, "endPort": 6000},
        {"protocol": "UDP"},
        {"protocol": "SCTP", "port": 80},
        {"protocol": "UDP", "port": 5500},
    )
    return chance.choice(choices)


def _selector(chance: random.Random) -> dict[str, Any]:
    return _labelled(chance, "app", [name(pod) for pod in PODS])


def _namespaces(chance: random.Random) -> dict[str, Any]:
    return _labelled(chance, chance.choice(("name", "kubernetes.io/metadata.name")), ["x", "y"])


def _labelled(chance: random.Random, key: str, values: list[str]) -> dict[str, Any]:
    """A selector of every form; nobody has the label of the last."""
    some = chance.sample(values, chance.randint(1, 2))
    match chance.randint(0, 5):
        case 0:
            return {}
        case 1:
            return {"matchLabels": {key: chance.choice(values)}}
        case 2:
            return {"matchExpressions": [{"key": key, "operator": "In", "values": some}]}
        case 3 | 4:
            return {"matchExpressions": [{"key": key, "operator": "NotIn", "values": some}]}
        case _:
            one = chance.choice((key, "unheard-of"))
            return {"matchExpressions": [{"key": one, "operator": chance.choice(("Exists", "DoesNotExist"))}]}
