"""Where groups are at home, and that who skips a policy by that misses none of its members."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.ids import NEVER
from sluice.contracts.objects import LabelSelector
from sluice.contracts.shards import PLACE_DIGITS, place_of, shard_of, shard_of_group, shard_of_namespace
from sluice.grouping.events import ObjectEvent, key_of
from sluice.grouping.selectors import GroupSelector, SelectorTerm, normalise, union, union_of_nodes
from sluice.policy.compiler import Groups
from sluice.policy.groupid import group_id
from sluice.policy.translate import SelfContained, Untranslatable, groups_of, stays_at_home, translate
from sluice.testkit import secondary
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import netpol
from sluice.testkit.strategies import NAMESPACES, netpols, stories

WEB = normalise(LabelSelector(match_labels={"app": "web"}))
PROD = normalise(LabelSelector(match_labels={"env": "prod"}))
IN_X = SelectorTerm(namespace="x", pod_selector=WEB)


def _place(selector: GroupSelector) -> str:
    return group_id(selector)[:PLACE_DIGITS]


def test_the_groups_of_a_namespace_have_one_place_and_others_their_own() -> None:
    at_home = [
        union([IN_X]),
        union([SelectorTerm(namespace="x")]),
        union([IN_X, SelectorTerm(namespace="x")]),
        union([SelectorTerm(namespace="x", namespace_selector=PROD)]),
        replace(union([IN_X]), networks=("x/net",)),
    ]
    elsewhere = [
        union([]),
        union([SelectorTerm()]),
        union([SelectorTerm(namespace_selector=PROD)]),
        union([IN_X, SelectorTerm(namespace="y")]),
        union([IN_X, SelectorTerm(namespace_selector=PROD)]),
        union_of_nodes([WEB]),
    ]

    assert {_place(selector) for selector in at_home} == {place_of("x")}
    assert all(_place(selector) == group_id(selector)[PLACE_DIGITS : 2 * PLACE_DIGITS] for selector in elsewhere)
    assert len({group_id(selector) for selector in at_home + elsewhere}) == len(at_home + elsewhere)


def test_a_group_belongs_to_the_shard_of_its_place() -> None:
    ids = [group_id(union([SelectorTerm(namespace=f"n{number}")])) for number in range(200)]

    for shards in (1, 2, 3, 64):
        found = [shard_of_group(group, shards) for group in ids]
        assert found == [shard_of_group(place_of(f"n{number}"), shards) for number in range(200)]
        assert found == [shard_of_namespace(f"n{number}", shards) for number in range(200)]
        assert set(found) <= set(range(shards))
    assert 80 < sum(shard_of_group(group, 2) for group in ids) < 120, "two shards have about half each"
    assert shard_of_group("_all", 3) == shard_of("_all", 3), "what has no place goes by its name"


@given(st.one_of(netpols, secondary.multis, secondary.policies()))
def test_of_a_policy_that_stays_at_home_no_group_has_members_elsewhere(policy: SelfContained) -> None:
    try:
        groups = translate(policy, NEVER).groups
    except Untranslatable:
        groups = {}

    assert groups_of(policy) == groups
    if stays_at_home(policy):
        own = place_of(policy.metadata.namespace)
        assert all(group.startswith(own) for group, selector in groups.items() if selector.terms)


@given(
    st.one_of(antrea_stories(), stories(more=secondary.objects, more_keys=secondary.keys)),
    st.sets(st.sampled_from(NAMESPACES)),
)
def test_who_asks_for_some_namespaces_finds_all_groups_but_those_of_others(
    events: list[ObjectEvent], wanted: set[str]
) -> None:
    whole, some = Groups(), Groups(wanted.__contains__)
    others = {place_of(name) for name in NAMESPACES if name not in wanted}

    for event in events:
        whole.evolve(event)
        some.evolve(event)
        asked = {
            group: selector
            for group, selector in whole.selectors.items()
            if group[:PLACE_DIGITS] not in others and (selector.terms or selector.nodes)
        }
        assert asked.items() <= some.selectors.items() <= whole.selectors.items()


def test_a_policy_that_comes_home_leaves_the_groups_that_it_had_beyond() -> None:
    beyond = netpol("x/np", {"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {}}]}]})
    home = netpol("x/np", {"ingress": [{"from": [{"podSelector": {}}]}]})
    groups = Groups({"y"}.__contains__)
    key = key_of(home)

    seen = []
    for sequence, obj in enumerate((beyond, home, beyond, None), start=1):
        groups.evolve(ObjectEvent(key, obj, NEVER._replace(sequence=sequence)))
        changes = groups.drain()
        seen.append((len(changes.select), len(changes.release), len(groups.selectors)))

    assert seen == [(2, 0, 2), (0, 2, 0), (2, 0, 2), (0, 2, 0)]
