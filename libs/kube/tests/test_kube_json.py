import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.kube import json_text, nodes
from sluice.kube.nodes import Malformed, plain

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=12,
)


def load(text):
    return [plain(node) for node in json_text.documents(text)]


@given(VALUES, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(value, indent, escaped):
    assert load(json.dumps(value, indent=indent, ensure_ascii=escaped)) == [value]


def test_values_follow_one_another():
    assert load(' {"a": null}\n[1, null]\t"x" -0 1E2 ') == [{}, [1, None], "x", 0, 100.0]


def test_lines():
    (node,) = json_text.documents('{"a": 1,\n\n"b": [\n{"c":\n2}]}')

    assert [nodes.line_at(node, steps) for steps in ((), ("a",), ("b",), ("b", 0), ("b", 0, "c"))] == [1, 1, 3, 4, 4]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{"a": 1,\n}', 2, "a key in .quotes. expected, found `}`"),
        ("{'a': 1}", 1, "a key in .quotes. expected"),
        ("[1,\n]", 2, "a value expected, found `]`"),
        ("[1 2]", 1, "`,` expected, found `2`"),
        ('{"a" 1}', 1, "`:` expected"),
        ('{"a":\n', 2, "found the end"),
        ('{"a": 1,\n"a": 2}', 2, "`a` is given twice, first in line 1"),
        ('["x\n"]', 1, "not JSON: Invalid control character"),
        ('["x', 1, "not JSON: Unterminated string"),
        ('["\\ud800"]', 1, "half a character"),
        ("[NaN]", 1, "a value expected"),
        ("[1e999]", 1, "not a finite number"),
        ("[" + "9" * 10_000 + "]", 1, "out of range"),
        ("[01]", 1, "`,` expected"),
        ("[" * 100_000, 1, "nested deeper than 64"),
        ("# yaml: 1", 1, "a value expected, found `#`"),
    ],
)
def test_what_is_refused_says_the_line(text, line, reason):
    with pytest.raises(Malformed, match=reason) as refused:
        load(text)

    assert refused.value.line == line
