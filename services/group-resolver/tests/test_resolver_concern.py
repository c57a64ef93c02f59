"""What a shard is told of policies: enough, whatever they are, and little."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.contracts.kinds import Kind
from sluice.contracts.shards import place_of, shard_of_group
from sluice.grouping.events import ObjectKey, Wanted, key_of
from sluice.policy.translate import SelfContained, stays_at_home
from sluice.services.group_resolver.concern import Concern, may_reach_beyond
from sluice.testkit import secondary
from sluice.testkit.builders import netpol
from sluice.testkit.strategies import netpols

OURS, THEIRS = (next(name for name in "abcdefgh" if shard_of_group(place_of(name), 2) == shard) for shard in (0, 1))
AT_HOME: Mapping[str, object] = {
    "podSelector": {},
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "db"}}}]}],
}
BEYOND: Mapping[str, object] = {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}


def stored(namespace: str, spec: Mapping[str, object]) -> tuple[ObjectKey, bytes]:
    policy = netpol(f"{namespace}/p", spec)
    return key_of(policy), codec.encode(policy)


@given(st.one_of(netpols, secondary.multis, secondary.policies()))
def test_a_policy_that_is_passed_over_stays_at_home(policy: SelfContained) -> None:
    assert may_reach_beyond(codec.encode(policy)) or stays_at_home(policy)


def test_a_shard_is_told_what_may_concern_it() -> None:
    concern = Concern(0, 2)

    assert concern.wants(*stored(OURS, AT_HOME)) is Wanted.READ
    assert concern.wants(*stored(OURS, BEYOND)) is Wanted.READ
    assert concern.wants(*stored(THEIRS, AT_HOME)) is Wanted.NOT
    assert concern.wants(stored(THEIRS, AT_HOME)[0], b"") is Wanted.NOT
    assert concern.wants(ObjectKey(Kind.ANTREA_NETWORK_POLICY, THEIRS, "p"), b"{}") is Wanted.READ
    assert concern.wants(ObjectKey(Kind.POD, OURS, "p"), b"{}") is Wanted.READ
    assert concern.wants(ObjectKey(Kind.POD, THEIRS, "p"), b"{}") is Wanted.UNREAD
    assert concern.wants(ObjectKey(Kind.NODE, "", "n"), b"{}") is Wanted.READ
    assert Concern(0, 1).wants(*stored(THEIRS, AT_HOME)) is Wanted.READ
    assert Concern(0, 1).wants(ObjectKey(Kind.POD, THEIRS, "p"), b"{}") is Wanted.READ


def test_what_was_told_once_is_told_when_it_goes_home_and_when_it_goes() -> None:
    concern = Concern(0, 2)

    assert concern.wants(*stored(THEIRS, BEYOND)) is Wanted.READ
    assert concern.wants(*stored(THEIRS, AT_HOME)) is Wanted.READ
    assert concern.wants(stored(THEIRS, AT_HOME)[0], b"") is Wanted.READ
