import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import jsonpath


def built(steps):
    path = jsonpath.ROOT
    for step in steps:
        path = jsonpath.item(path, step) if isinstance(step, int) else jsonpath.field(path, step)
    return path


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ((), "$"),
        (("spec", "ingress", 0, "from", 11, "ipBlock", "cidr"), "$.spec.ingress[0].from[11].ipBlock.cidr"),
        (("metadata", "labels", "app.kubernetes.io/name"), "$.metadata.labels['app.kubernetes.io/name']"),
        (("a", "it's \\ so"), r"$.a['it\'s \\ so']"),
        (("", 0), "$[''][0]"),
    ],
)
def test_a_path_reads_as_people_write_it(steps, path):
    assert built(steps) == path
    assert jsonpath.steps(path) == steps


@given(st.lists(st.text() | st.integers(min_value=0)).map(tuple))
def test_steps_come_back(steps):
    assert jsonpath.steps(built(steps)) == steps


@pytest.mark.parametrize("path", ["", "spec", "$spec", "$.a[b]", "$.a[-1]", "$.a b", "$['a"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="not a path of fields"):
        jsonpath.steps(path)
