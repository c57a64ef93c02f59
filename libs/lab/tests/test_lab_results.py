"""How outcomes are shown."""

from xml.etree import ElementTree as ET

import msgspec
import pytest

from sluice.lab import results
from sluice.lab.results import Check, Outcome, Report


def check(expect: str, got: str, why: str = "") -> Check:
    return Check(
        step="s1", kind="probe", from_="x/a", to="y/b", what="TCP 80", expect=expect, got=got, ok=expect == got, why=why
    )


GOOD = Outcome(name="good", file="good.yaml", ok=True, seconds=1.234, checks=(check("Allowed", "Allowed"),))
BAD = Outcome(
    name="a-bad-one",
    file="bad.yaml",
    ok=False,
    seconds=2.0,
    checks=(check("Dropped", "Allowed", "verdict: Dropped; isolated"), check("Dropped", "Dropped")),
    error="left behind: node-1: a rule id\nleft behind: GROUPS: g",
)
OFFLINE = Outcome(name="offline", file="o.yaml", ok=True, seconds=0.0, checks=(), offline=True)


def test_table() -> None:
    assert results.table(Report((GOOD, BAD, OFFLINE))).splitlines() == [
        "ok   good          1 checks    1.2 s",
        "FAIL a-bad-one     2 checks    2.0 s",
        "     s1: x/a -> y/b TCP 80: expected Dropped, got Allowed",
        "        verdict: Dropped; isolated",
        "     left behind: node-1: a rule id",
        "     left behind: GROUPS: g",
        "ok   offline       0 checks    0.0 s  offline: answered by verdict() alone, no packet was sent",
        "2 of 3 scenarios as expected, 3 checks, 3.2 s",
    ]


def test_json_has_the_published_shape() -> None:
    decoded = msgspec.json.decode(results.json(Report((GOOD,))))

    assert decoded == {
        "scenarios": [
            {
                "name": "good",
                "file": "good.yaml",
                "ok": True,
                "seconds": 1.234,
                "checks": [
                    {
                        "step": "s1",
                        "kind": "probe",
                        "from": "x/a",
                        "to": "y/b",
                        "what": "TCP 80",
                        "expect": "Allowed",
                        "got": "Allowed",
                        "ok": True,
                    }
                ],
            }
        ]
    }


def test_junit() -> None:
    suites = ET.fromstring(results.junit(Report((GOOD, BAD))))

    assert [suite.attrib["name"] for suite in suites] == ["good", "a-bad-one"]
    assert [(suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) for suite in suites] == [
        ("1", "0", "0"),
        ("3", "1", "1"),
    ]
    (failure,) = suites.iter("failure")
    assert failure.attrib["message"] == "expected Dropped, got Allowed"


@pytest.mark.parametrize(("outcomes", "ok"), [((GOOD, OFFLINE), True), ((GOOD, BAD), False), ((), True)])
def test_a_report_is_as_good_as_its_worst(outcomes: tuple[Outcome, ...], ok: bool) -> None:
    assert Report(outcomes).ok is ok
