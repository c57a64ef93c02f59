"""Results of a run, and their presentation: a table, JSON, JUnit."""

from collections.abc import Sequence
from typing import Literal
from xml.etree import ElementTree as ET

import msgspec
from msgspec import Struct, field


class Check(Struct, frozen=True, kw_only=True, omit_defaults=True):
    step: str
    kind: Literal["probe", "matrix", "denial", "capture", "log"]
    from_: str = field(name="from")
    to: str
    what: str
    expect: str
    got: str
    ok: bool
    why: str = ""
    """The reason for the verdict of policy, if the actual result differs from it."""


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one scenario."""

    name: str
    file: str
    ok: bool
    seconds: float
    checks: tuple[Check, ...]
    offline: bool = False
    """Evaluated by `verdict()` alone: no packet was sent."""

    error: str = ""
    """Why it could not be completed, or what it left behind."""


class Report(Struct, frozen=True):
    scenarios: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        return all(outcome.ok for outcome in self.scenarios)


def json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def table(report: Report) -> str:
    """A line per scenario, and one per check with an unexpected result."""
    names = [outcome.name for outcome in report.scenarios]
    return "\n".join([*(lines_of(outcome, names) for outcome in report.scenarios), summary(report)])


def summary(report: Report) -> str:
    """The last line of the table."""
    good = sum(outcome.ok for outcome in report.scenarios)
    checks = sum(len(outcome.checks) for outcome in report.scenarios)
    seconds = sum(outcome.seconds for outcome in report.scenarios)
    return f"{good} of {len(report.scenarios)} scenarios as expected, {checks} checks, {seconds:.1f} s"


def lines_of(outcome: Outcome, names: Sequence[str]) -> str:
    """The table's lines for one scenario; aligned by all their names."""
    return "\n".join(_lines(outcome, max(map(len, names), default=0)))


def _lines(outcome: Outcome, width: int) -> list[str]:
    mark = "ok  " if outcome.ok else "FAIL"
    offline = "  offline: answered by verdict() alone, no packet was sent" if outcome.offline else ""
    lines = [f"{mark} {outcome.name:{width}}  {len(outcome.checks):4} checks {outcome.seconds:6.1f} s{offline}"]
    for check in outcome.checks:
        if not check.ok:
            lines.append(f"     {_asked(check)}: expected {check.expect}, got {check.got}")
            lines += [f"        {check.why}"] if check.why else []
    if outcome.error:
        lines += [f"     {line}" for line in outcome.error.splitlines()]
    return lines


def _asked(check: Check) -> str:
    ends = f"{check.from_} -> {check.to} " if check.from_ or check.to else ""
    return f"{check.step}: {ends}{check.what}"


def junit(report: Report) -> str:
    """A test suite per scenario, a test case per check."""
    suites = ET.Element("testsuites", name="sluice lab")
    for outcome in report.scenarios:
        broken = [check for check in outcome.checks if not check.ok]
        suite = ET.SubElement(
            suites,
            "testsuite",
            name=outcome.name,
            file=outcome.file,
            tests=str(len(outcome.checks) + bool(outcome.error)),
            failures=str(len(broken)),
            errors=str(int(bool(outcome.error))),
            time=f"{outcome.seconds:.3f}",
        )
        for check in outcome.checks:
            case = ET.SubElement(suite, "testcase", classname=outcome.name, name=_asked(check))
            if not check.ok:
                ET.SubElement(case, "failure", message=f"expected {check.expect}, got {check.got}")
        if outcome.error:
            case = ET.SubElement(suite, "testcase", classname=outcome.name, name="carried out")
            ET.SubElement(case, "error", message=outcome.error)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True)


FORMATS = {"table": table, "json": json, "junit": junit}
