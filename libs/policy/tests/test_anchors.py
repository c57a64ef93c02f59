"""What is found without looking at each group holds all that looking at each would find."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import LabelSelector
from sluice.grouping.selectors import GroupSelector, SelectorTerm, normalise, selects, union
from sluice.policy.anchors import Anchors
from sluice.policy.covering import group_covers
from sluice.testkit.strategies import label_selectors, labels

_names = st.sampled_from(["", "x", "y"])
_terms = st.builds(
    lambda namespace, inside, pods: SelectorTerm(
        namespace=namespace, namespace_selector=inside and normalise(inside), pod_selector=normalise(pods)
    ),
    _names,
    st.none() | label_selectors,
    label_selectors,
)
_selectors = st.lists(st.lists(_terms, max_size=3).map(union), max_size=8).map(
    lambda found: {GroupId(str(number)): selector for number, selector in enumerate(found)}
)


@given(_selectors, st.sampled_from(["x", "y", "z"]), st.none() | labels, labels)
def test_all_that_select_are_found(
    groups: Mapping[GroupId, GroupSelector], namespace: str, inside: Mapping[str, str] | None, pod: Mapping[str, str]
) -> None:
    meant = {name for name, one in groups.items() if any(selects(term, namespace, inside, pod) for term in one.terms)}
    assert meant <= Anchors(groups).selecting(namespace, inside, pod)


@given(_selectors, st.dictionaries(st.sampled_from(["x", "y"]), labels))
def test_all_that_cover_are_found(
    groups: Mapping[GroupId, GroupSelector], namespaces: Mapping[str, Mapping[str, str]]
) -> None:
    anchors = Anchors(groups)
    for narrow in groups.values():
        meant = {name for name, wide in groups.items() if group_covers(wide, narrow, namespaces)}
        assert meant <= anchors.covering(narrow, namespaces)


def test_few_are_found() -> None:
    """One for each label of a Namespace, however many groups there are."""
    groups = {
        GroupId(f"{namespace}-{app}"): union(
            [SelectorTerm(namespace=namespace, pod_selector=normalise(LabelSelector(match_labels={"app": app})))]
        )
        for namespace in ("x", "y", "")
        for app in "abcdef"
    }
    anchors = Anchors(groups)
    assert anchors.selecting("x", None, {"app": "a", "tier": "b"}) == {"x-a", "-a"}
    assert anchors.covering(groups[GroupId("y-c")], {}) == {"y-c", "-c"}


def test_few_are_found_by_labels_of_namespaces() -> None:
    """A name that the Namespace has as a label, as policies of a cluster have it."""
    groups = {
        GroupId(name): union(
            [SelectorTerm(namespace_selector=normalise(LabelSelector(match_labels={"team": name})))] if name else []
        )
        for name in ("a", "b", "c", "")
    }
    anchors = Anchors(groups)
    assert anchors.selecting("x", {"team": "a"}, {"app": "web"}) == {"a"}
    assert anchors.covering(groups[GroupId("b")], {}) == {"b"}
    in_x = union([SelectorTerm(namespace="x")])
    assert anchors.covering(in_x, {"x": {"team": "c"}}) == {"c"}
