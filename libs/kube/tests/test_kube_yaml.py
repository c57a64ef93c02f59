"""YAML as we take it, with both parsers that PyYAML has."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sluice.kube import nodes, yaml_text
from sluice.kube.nodes import Malformed, plain


def load(text, parser=yaml_text.PARSERS[0]):
    """Values of all documents in the text."""
    return [plain(node) for chunk in yaml_text.chunks(text) for node in yaml_text.documents(chunk, parser)]


def test_both_parsers_are_tested():
    assert len(yaml_text.PARSERS) == 2


@pytest.fixture(params=yaml_text.PARSERS, ids=lambda parser: parser.__name__)
def parser(request):
    return request.param


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0x11", 17),
        ("-0x11", -17),
        ("010", 8),
        ("0b101", 5),
        ("1_000", 1000),
        ("+7", 7),
        ("0", 0),
        ("08", "08"),
        ("0x", "0x"),
        ("0o17", "0o17"),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        ("1.0e+3", 1000.0),
        ("yes", True),
        ("off", False),
        ("y", "y"),
        ("~", None),
        ("", None),
        ("null", None),
        ("2024-01-01", "2024-01-01"),
        ("10:30", "10:30"),
        ("2:3:4:5:6:7:8:9", "2:3:4:5:6:7:8:9"),
        ("10.0.0.1", "10.0.0.1"),
        ("=", "="),
        ('"yes"', "yes"),
        ("'0x11'", "0x11"),
        ("!!str 0x11", "0x11"),
        ("! 12", "12"),
        ('"\\u00e9"', "é"),
        ("|\n  10\n  20\n", "10\n20\n"),
        (".5", 0.5),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_a_scalar_is_what_yaml_1_1_says(parser, written, value):
    (document,) = load(f"key: {written}", parser)

    assert document.get("key") == value
    assert type(document.get("key")) is type(value)


@given(st.from_regex(r"[-+]?(0b[01_]+|0x[0-9a-f_]+|0[0-7_]*|[1-9][0-9_]{0,17})", fullmatch=True))
def test_integers_are_those_of_pyyaml(written):
    try:
        expected = yaml.safe_load(written)
    except ValueError:  # PyYAML takes `0x_` for a number, and then finds none
        expected = written
    if not isinstance(expected, int) or expected in nodes.INTEGERS:
        assert load(written) == [expected]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def without_nulls(value):
    match value:
        case dict():
            return {key: without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [without_nulls(item) for item in value]
        case _:
            return value


@given(st.lists(JSON, max_size=3), st.booleans())
def test_what_pyyaml_writes_is_read_back(documents, flow):
    written = yaml.safe_dump_all(documents, explicit_start=True, default_flow_style=flow)

    assert load(written) == [without_nulls(document) for document in documents]


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        ("# nothing\n\n", []),
        ("---\n---\n# nothing\n---\n", [None, None, None]),
        ("%YAML 1.1\n---\na: 1\n", [{"a": 1}]),
        ("a: 1\n---\nb: 2", [{"a": 1}, {"b": 2}]),
        ("a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ("--- {a: 1}\n--- # two\nb: 2\n...\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\n...\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: |\n  text\n ---\n", None),
        ("a: |\n  text\n  ---\n  more\n", [{"a": "text\n---\nmore\n"}]),
        ("a: --- b\n", [{"a": "--- b"}]),
    ],
)
def test_documents_are_cut_at_their_marks(parser, text, documents):
    if documents is None:
        with pytest.raises(Malformed):
            load(text, parser)
    else:
        assert [document for document in load(text, parser) if document] == [one for one in documents if one]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: [1\nc: 2", 3, "not YAML"),
        ("a:\n\tb: 1", 2, "a tab where YAML wants spaces"),
        ("a: 'open", 1, "not YAML"),
        ("a: [", 1, "not YAML"),
        ("a: 1\nb: [\n", 2, "not YAML"),
        ("a: 1\nb: 2\na: 3", 3, "`a` is given twice, first in line 1"),
        ("- {x: 1, x: 2}", 1, "`x` is given twice"),
        ("a: *b", 1, r"\*b refers to no complete value"),
        ("a: &b [*b]", 1, r"\*b refers to no complete value"),
        ("a: !!python/object:os.system x", 1, "tag .* is not supported"),
        ("a: !mine {}", 1, "tag .* is not supported"),
        ("a: !!set {b}", 1, "tag .* is not supported"),
        ("a: !!int '1'", 1, "tag .* is not supported"),
        ("a: !!binary aGk=", 1, "tag .* is not supported"),
        ("b: 1\non: push", 2, '`on` is a boolean in YAML, not text; quote it: "on"'),
        ("80: a", 1, "`80` is an integer"),
        ("~: a", 1, "`~` is null"),
        ("? [a]\n: b", 1, "cannot be a key"),
        ("a: {<<: 1}", 1, "merges maps only"),
        ("a: .inf", 1, "not a finite number"),
        ("a: 1\nb: 99999999999999999999", 2, "out of range"),
        ("a: 0x" + "f" * 5000, 1, "out of range"),
        ('a: "\\UFFFFFFFF"', 1, "not YAML"),
        ("a: 1.0e+999", 1, "not a finite number"),
        ("a: 1\nb: \x07", 2, r"U\+0007 is not allowed"),
        ("a: " + "[" * 70 + "]" * 70, 1, "nested deeper than 64"),
        ("[" * 100_000, 1, "nested deeper than 64"),
        ("a:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 80)), 65, "nested deeper than 64"),
    ],
)
def test_what_is_refused_says_the_line(parser, text, line, reason):
    with pytest.raises(Malformed, match=reason) as refused:
        load(text, parser)

    assert refused.value.line == line


def test_half_a_character_is_refused():
    with pytest.raises(Malformed):
        load('a: "\\ud800"', yaml.SafeLoader)


def test_lines_are_those_of_the_file(parser):
    text = "# head\n---\na: 1\n---\n\nb:\n  - x\n  -\n    c: 2\n"
    chunk = list(yaml_text.chunks(text))[1]
    (node,) = yaml_text.documents(chunk, parser)

    assert chunk.line == 4
    assert nodes.line_at(node, ()) == 6
    assert nodes.line_at(node, ("b", 0)) == 7
    assert nodes.line_at(node, ("b", 1, "c")) == 9
    assert nodes.line_at(node, ("b", 1, "missing")) == 9
    assert nodes.line_at(node, ("b", 7)) == 6


def test_a_line_that_is_missing_is_that_of_what_should_hold_it(parser):
    (node,) = yaml_text.documents(yaml_text.Chunk(1, "spec:\n  ports:\n  - {}"), parser)

    assert nodes.line_at(node, ("spec", "ports", 0, "port")) == 3
    assert nodes.line_at(node, ("metadata", "name")) == 1


def test_plain_aliases_and_merges_are_fine(parser):
    text = "base: &b {x: 1, y: 2}\nsame: *b\nmore: {<<: *b, y: 3}\nboth: {z: 0, <<: [{x: 9}, *b]}"
    base = {"x": 1, "y": 2}

    assert load(text, parser) == [
        {"base": base, "same": base, "more": {"x": 1, "y": 3}, "both": {"x": 9, "y": 2, "z": 0}}
    ]


def test_a_quoted_merge_is_a_key(parser):
    assert load("{'<<': 1}", parser) == [{"<<": 1}]


def test_an_anchor_may_be_named_anew(parser):
    assert load("[&a 1, *a, &a 2, *a]", parser) == [[1, 1, 2, 2]]


def test_bombs_are_refused_at_once(parser):
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    tall = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [[*a{n - 1}]]\n" for n in range(1, 60))
    for bomb in (laughs, tall):
        with pytest.raises(Malformed, match="make the document too large"):
            load(bomb, parser)
