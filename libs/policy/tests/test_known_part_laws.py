"""A policy that this version does not wholly know allows nothing that its author did not mean to allow."""

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec, known_part
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, K8sNetworkPolicy
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import Packet
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Outcome, verdict
from sluice.testkit.builders import namespace, netpol, pod
from sluice.testkit.strategies import netpols, packets

WORLD: tuple[AnyObject, ...] = (
    namespace("x", app="v1"),
    namespace("y", tier="v2"),
    pod("x/a", ip="10.0.0.1", ports=[("web", 80)], app="v1"),
    pod("x/b", ip="10.0.0.2", ports=[("web", 81), ("dns", 53, "UDP")], tier="v2"),
    pod("y/a", ip="10.0.0.3", app="v1", tier="v1"),
    pod("y/b", ip="10.0.0.4"),
)
ENUMS = ("operator", "protocol")

Place = tuple[Any, Any]  # Any: JSON
"""A map or a list, and a key or an index of it."""


def places(node: Any, name: str = "") -> Iterator[Place]:  # Any: JSON
    """Where the next version may say something else: fields, and values of fields and lists that have few."""
    match node:
        case dict():
            for key, value in node.items():
                if name != "matchLabels":
                    yield node, key
                yield from places(value, key)
        case list():
            for index, item in enumerate(node):
                if name == "policyTypes":
                    yield node, index
                yield from places(item)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[K8sNetworkPolicy, bytes]:
    """A policy, and the same with a field or value that this version does not know in place of one that it does."""
    meant = draw(netpols)
    whole = msgspec.json.decode(codec.encode(meant))
    found = list(places(whole.get("spec", {})))
    if not found:
        whole.setdefault("spec", {})["fromTheFuture"] = 1
    else:
        node, key = draw(st.sampled_from(found))
        if isinstance(node, list) or (key in ENUMS and draw(st.booleans())):
            node[key] = "FromTheFuture"
        else:
            node["fromTheFuture"] = node.pop(key)
    return meant, codec.encode(whole)


def passes(policy: AnyObject, packet: Packet) -> bool:
    return verdict(ClusterState((*WORLD, policy)), packet).outcome is Outcome.ALLOWED


@given(pairs(), packets)
def test_what_is_not_known_opens_nothing(pair: tuple[K8sNetworkPolicy, bytes], packet: Packet) -> None:
    meant, body = pair
    read = known_part.decode(Kind.K8S_NETWORK_POLICY, body)
    try:
        assert passes(meant, packet) or not passes(read, packet)
    except NoSuchEnd:
        return


@given(pairs())
def test_the_status_says_what_is_not_known(pair: tuple[K8sNetworkPolicy, bytes]) -> None:
    read = known_part.decode(Kind.K8S_NETWORK_POLICY, pair[1])

    (problem,) = ClusterState((read,)).compiler.problems

    assert problem.state == "failed"
    assert problem.reason.startswith(f"NetworkPolicy {'/'.join(pair[0].key)} $.spec")
    assert "romTheFuture" in problem.reason


def test_a_status_stays_small_whatever_the_policy_is() -> None:
    """All statuses travel in one message, and enforcement waits until it is stored."""
    peers = [{"f" * 100_000: 1}, *({"future": 1} for _ in range(10_000))]
    body = codec.encode({**msgspec.json.decode(codec.encode(netpol("x/p"))), "spec": {"ingress": [{"from": peers}]}})

    (problem,) = ClusterState((known_part.decode(Kind.K8S_NETWORK_POLICY, body),)).compiler.problems

    assert len(problem.reason) < 12_000
    assert problem.reason.endswith("; and 9991 problems more")


def test_one_peer_that_is_not_known_closes_no_other() -> None:
    known = {"podSelector": {"matchLabels": {"app": "v1"}}}
    policy = netpol("x/p", {"ingress": [{"from": [known]}]})
    whole = msgspec.json.decode(codec.encode(policy))
    whole["spec"]["ingress"][0]["from"].append({"fromTheFuture": {}})
    read = known_part.decode(Kind.K8S_NETWORK_POLICY, codec.encode(whole))

    (program,) = ClusterState((read,)).compiler.programs.values()

    (meant,) = ClusterState((policy,)).compiler.programs.values()
    assert program == meant
