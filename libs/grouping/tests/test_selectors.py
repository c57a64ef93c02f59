from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.objects import LabelRequirement, LabelSelector
from sluice.grouping.selectors import EVERYTHING, NOTHING, SelectorTerm, matches, normalise, selects, union
from sluice.testkit.builders import selector
from sluice.testkit.strategies import label_selectors, labels

DOES_NOT_EXIST: Final = "DoesNotExist"
EXISTS: Final = "Exists"


class Match(NamedTuple):
    name: str
    selector: LabelSelector
    matching: list[dict[str, str]]
    other: list[dict[str, str]]


MATCHES = [
    Match("an empty one matches all", selector(), [{}, {"app": "a"}], []),
    Match("a label", selector(app="a"), [{"app": "a"}, {"app": "a", "b": "c"}], [{}, {"app": "b"}, {"b": "a"}]),
    Match("an empty value is a value", selector(app=""), [{"app": ""}], [{}, {"app": "a"}]),
    Match("all labels", selector(app="a", tier="b"), [{"app": "a", "tier": "b"}], [{"app": "a"}, {"tier": "b"}]),
    Match("In", selector(("app", "In", ["a", "b"])), [{"app": "a"}, {"app": "b"}], [{}, {"app": "c"}]),
    Match("NotIn", selector(("app", "NotIn", ["a", "b"])), [{}, {"app": "c"}], [{"app": "a"}, {"app": "b"}]),
    Match("Exists", selector(("app", EXISTS)), [{"app": ""}, {"app": "a"}], [{}, {"b": "a"}]),
    Match("DoesNotExist", selector(("app", DOES_NOT_EXIST)), [{}, {"b": "a"}], [{"app": ""}, {"app": "a"}]),
    Match(
        "there, but not this",
        selector(("app", EXISTS), ("app", "NotIn", ["a"])),
        [{"app": "b"}],
        [{}, {"app": "a"}],
    ),
    Match("one that excludes itself", selector(("app", "In", ["b"]), app="a"), [], [{}, {"app": "a"}, {"app": "b"}]),
    Match("In nothing", selector(("app", "In", [])), [], [{}, {"app": "a"}, {"": ""}]),
]


@pytest.mark.parametrize("case", MATCHES, ids=lambda case: case.name)
def test_matches(case: Match) -> None:
    normal = normalise(case.selector)

    assert [labels for labels in case.matching + case.other if matches(normal, labels)] == case.matching


class Same(NamedTuple):
    name: str
    one: LabelSelector
    other: LabelSelector


SAME = [
    Same("a label is In with one value", selector(app="a"), selector(("app", "In", ["a"]))),
    Same("values have no order", selector(("app", "In", ["a", "b"])), selector(("app", "In", ["b", "a", "b"]))),
    Same("labels have no order", selector(app="a", tier="b"), selector(tier="b", app="a")),
    Same(
        "requirements have no order",
        selector(("app", EXISTS), ("tier", DOES_NOT_EXIST)),
        selector(("tier", DOES_NOT_EXIST), ("app", EXISTS)),
    ),
    Same("two In are their intersection", selector(("app", "In", ["a", "b"]), app="a"), selector(app="a")),
    Same("In implies Exists", selector(("app", EXISTS), app="a"), selector(app="a")),
    Same("In less NotIn", selector(("app", "In", ["a", "b"]), ("app", "NotIn", ["b"])), selector(app="a")),
    Same(
        "DoesNotExist implies NotIn",
        selector(("app", DOES_NOT_EXIST), ("app", "NotIn", ["b"])),
        selector(("app", DOES_NOT_EXIST)),
    ),
    Same(
        "two NotIn are one",
        selector(("app", "NotIn", ["b"]), ("app", "NotIn", ["a"])),
        selector(("app", "NotIn", ["a", "b"])),
    ),
    Same("NotIn nothing says nothing", selector(("app", "NotIn", [])), selector()),
    Same("what excludes itself is all one", selector(("a", "In", ["b"]), a="c"), selector(("b", "In", []))),
    Same("there and not there", selector(("a", EXISTS), ("a", DOES_NOT_EXIST)), selector(("a", "In", []))),
    Same("this and not there", selector(("a", DOES_NOT_EXIST), a="b"), selector(("a", "In", []))),
]


@pytest.mark.parametrize("case", SAME, ids=lambda case: case.name)
def test_equal_meaning_is_equal_form(case: Same) -> None:
    assert normalise(case.one) == normalise(case.other)


def test_different_meaning_is_different_form() -> None:
    forms = [normalise(case.selector) for case in MATCHES[:9]]

    assert len(set(forms)) == len(forms)


def literally(selector: LabelSelector, labels: dict[str, str]) -> bool:
    """What the Kubernetes API reference says, requirement by requirement, on the selector as it was written."""

    def holds(requirement: LabelRequirement) -> bool:
        value = labels.get(requirement.key)
        return {
            "In": value in requirement.values,
            "NotIn": value not in requirement.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[requirement.operator]

    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        holds(requirement) for requirement in selector.match_expressions
    )


@given(label_selectors, labels)
def test_the_normal_form_means_what_was_written(selector: LabelSelector, labels: dict[str, str]) -> None:
    assert matches(normalise(selector), labels) == literally(selector, labels)


@given(label_selectors)
def test_the_normal_form_is_its_own(selector: LabelSelector) -> None:
    normal = normalise(selector)

    assert normalise(LabelSelector(match_expressions=normal)) == normal


@given(st.lists(label_selectors, max_size=4), st.randoms())
def test_a_union_has_no_order_and_no_repeats(selectors: list[LabelSelector], chance) -> None:
    terms = [SelectorTerm(namespace="x", pod_selector=normalise(one)) for one in selectors]
    again = terms * 2
    chance.shuffle(again)

    assert union(again) == union(terms)


def test_a_union_leaves_out_what_matches_nothing() -> None:
    nobody = [SelectorTerm(pod_selector=NOTHING), SelectorTerm(namespace_selector=NOTHING)]

    assert union([*nobody, SelectorTerm(namespace="x")]).terms == (SelectorTerm(namespace="x"),)
    assert union(nobody).terms == ()


PROD = normalise(selector(env="prod"))
WEB = normalise(selector(app="web"))

SELECTS = [
    ("in its Namespace", SelectorTerm(namespace="x", pod_selector=WEB), None, True),
    ("in another Namespace", SelectorTerm(namespace="y", pod_selector=WEB), {}, False),
    ("anywhere", SelectorTerm(pod_selector=WEB), None, True),
    ("in Namespaces with a label", SelectorTerm(namespace_selector=PROD, pod_selector=WEB), {"env": "prod"}, True),
    ("in Namespaces without it", SelectorTerm(namespace_selector=PROD, pod_selector=WEB), {"env": "test"}, False),
    ("all Namespaces that are known", SelectorTerm(namespace_selector=EVERYTHING), {}, True),
    ("a Namespace that is not known", SelectorTerm(namespace_selector=EVERYTHING), None, False),
    (
        "a Namespace that is not known lacks no label",
        SelectorTerm(namespace_selector=normalise(selector(("env", DOES_NOT_EXIST)))),
        None,
        False,
    ),
]


@pytest.mark.parametrize(("name", "term", "namespace_labels", "expected"), SELECTS, ids=[row[0] for row in SELECTS])
def test_selects(name: str, term: SelectorTerm, namespace_labels: dict[str, str] | None, expected: bool) -> None:
    assert selects(term, "x", namespace_labels, {"app": "web"}) is expected
