"""Rule sets as the engine reads them: goldens, and that user text never becomes syntax.

That they do what they should is held against the engine itself, in tests/l7.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.l7 import HttpMatch, L7Match, TlsMatch
from sluice.dataplane.l7.ruleset import HELLO_SID, REJECTED_SID, compile_rules, signatures
from sluice.dataplane.l7.signature import Does, content, literal, quoted
from sluice.dataplane.l7.wildcard import regex
from sluice.policy.l7 import pattern
from sluice.testkit import golden

GOLDEN = Path(__file__).parent / "golden" / "l7"
POLICY = "AntreaNetworkPolicy:ns/name"

RULE_SETS: dict[str, tuple[L7Match, ...]] = {
    "api-v2": (HttpMatch(path="/api/v2/*", host="foo.bar.com", method="GET"),),
    "admin-and-public": (HttpMatch(path="/admin/*"), HttpMatch(path="/public/*")),
    "http-only": (HttpMatch(),),
    "tls-name": (TlsMatch(sni="*.bar.com"),),
    "tls-only": (TlsMatch(),),
    "mixture": (HttpMatch(host="*.foo.*"), TlsMatch(sni="foo.bar.com"), HttpMatch(path="/index.html")),
}

texts = st.text(max_size=20)
entries = st.lists(
    st.builds(HttpMatch, path=texts, host=texts, method=texts) | st.builds(TlsMatch, sni=texts), min_size=1, max_size=5
)


@pytest.mark.parametrize("name", RULE_SETS)
def test_golden(name: str) -> None:
    golden.check(GOLDEN / f"{name}.rules", compile_rules(RULE_SETS[name], policy=POLICY).text)


def test_equal_entries_are_one_rule_set_whatever_their_order() -> None:
    forwards = compile_rules(RULE_SETS["mixture"], policy=POLICY)
    backwards = compile_rules(RULE_SETS["mixture"][::-1] * 2, policy=POLICY)

    assert forwards == backwards
    assert forwards.digest == backwards.digest


def test_a_logged_rule_set_is_another() -> None:
    plain, logged = (compile_rules(RULE_SETS["api-v2"], policy=POLICY, logged=one) for one in (False, True))

    rejecting = [line for line in logged.text.splitlines() if line.startswith("rejectboth")]
    assert rejecting
    assert all("metadata:sluice sluice;" in line for line in rejecting)
    assert "metadata:" not in plain.text
    assert plain.digest != logged.digest


@pytest.mark.parametrize(
    ("name", "sids"),
    [
        ("api-v2", {REJECTED_SID}),
        ("tls-name", {REJECTED_SID}),
        ("mixture", {REJECTED_SID, HELLO_SID}),
        ("http-only", set()),
    ],
)
def test_alerts_of_denials_have_the_sids_that_people_know(name: str, sids: set[int]) -> None:
    found = {one.sid for one in signatures(RULE_SETS[name], message="m") if one.does is Does.REJECT}

    assert {sid for sid in found if sid < 100} == sids


@given(entries)
def test_signatures_are_told_apart_by_their_sids(some: list[L7Match]) -> None:
    sids = [one.sid for one in signatures(some, message="m")]

    assert len(set(sids)) == len(sids)


@given(entries, st.text())
def test_whatever_people_write_stays_in_its_place(some: list[L7Match], policy: str) -> None:
    lines = compile_rules(some, policy=policy).text.split("\n")

    assert lines.pop() == ""
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        # Outside of quotes there are only keywords, numbers and our own words.
        assert re.fullmatch(r'(alert|drop|rejectboth) \w+ any any -> any any \((?:[^"]|"[^"]*")*;\)', line)
        bare = re.sub(r'"[^"]*"', '""', line)
        assert re.fullmatch(r"[\w.,:;!<>\" ()-]*", bare), bare


@given(st.text(min_size=1))
def test_content_says_just_the_text(text: str) -> None:
    said = re.fullmatch(r'content:"([^"]*)"', content(text))
    assert said is not None
    plain = re.sub(r"\|([0-9a-f ]+)\|", lambda found: bytes.fromhex(found[1]).decode("latin-1"), said[1])

    assert plain.encode("latin-1") == text.encode()


@given(st.text('aB.*|/;"\\\n[', max_size=6), st.text('aB.|/;"\\\n[', max_size=8))
def test_a_regular_expression_matches_what_its_pattern_does(written: str, text: str) -> None:
    found = re.fullmatch(regex(pattern(written), ".*"), text, re.DOTALL)

    assert (found is not None) is pattern(written).fits(text)


@given(st.text())
def test_a_literal_has_letters_digits_and_escapes(text: str) -> None:
    assert re.fullmatch(r"(?:[A-Za-z0-9]|\\x[0-9a-f]{2})*", literal(text))


def test_a_message_cannot_end_itself() -> None:
    assert quoted('a"; sid:9;\\|\n') == "a__ sid:9____"
