"""What a shard is told of policies: enough, whatever they are, and little."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.shards import place_of, shard_of_group
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent, ObjectKey, key_of
from sluice.policy.translate import SelfContained, stays_at_home
from sluice.services.group_resolver.concern import Concern, may_reach_beyond
from sluice.testkit import secondary
from sluice.testkit.builders import netpol, pod
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


def form(concern: Concern, key: ObjectKey, body: bytes) -> type[ObjectEvent | Bystander] | None:
    told = concern.read(key, body, Revision(1, 1))
    assert told is None or (told.key, told.revision) == (key, Revision(1, 1))
    return type(told) if told else None


def a_pod(namespace: str) -> tuple[ObjectKey, bytes]:
    return key_of(pod(f"{namespace}/p")), codec.encode(pod(f"{namespace}/p", ip="10.0.0.1"))


def test_a_shard_is_told_what_may_concern_it() -> None:
    concern, alone = Concern(0, 2), Concern(0, 1)

    assert form(concern, *stored(OURS, AT_HOME)) is ObjectEvent
    assert form(concern, *stored(OURS, BEYOND)) is ObjectEvent
    assert form(concern, *stored(THEIRS, AT_HOME)) is None
    assert form(concern, stored(THEIRS, AT_HOME)[0], b"") is None
    assert form(concern, *a_pod(OURS)) is ObjectEvent
    assert form(concern, *a_pod(THEIRS)) is Bystander
    assert form(concern, a_pod(THEIRS)[0], b"") is ObjectEvent
    assert form(concern, ObjectKey(Kind.ANTREA_NETWORK_POLICY, THEIRS, "p"), b"") is ObjectEvent
    assert form(concern, ObjectKey(Kind.NODE, "", "n"), b"") is ObjectEvent
    assert form(alone, *stored(THEIRS, AT_HOME)) is ObjectEvent
    assert form(alone, *a_pod(THEIRS)) is ObjectEvent


def test_what_was_told_once_is_told_when_it_goes_home_and_when_it_goes() -> None:
    concern = Concern(0, 2)

    assert form(concern, *stored(THEIRS, BEYOND)) is ObjectEvent
    assert form(concern, *stored(THEIRS, AT_HOME)) is ObjectEvent
    assert form(concern, stored(THEIRS, AT_HOME)[0], b"") is ObjectEvent


def test_one_that_concerns_it_and_cannot_be_read_is_told_from_then_on() -> None:
    concern, (key, _) = Concern(0, 2), stored(THEIRS, BEYOND)

    with pytest.raises(codec.Undecodable):
        concern.read(key, b'{"namespaceSelector":', Revision(1, 1))

    assert form(concern, *stored(THEIRS, AT_HOME)) is ObjectEvent
