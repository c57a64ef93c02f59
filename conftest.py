"""Shared by all tests: Hypothesis profiles, which machines run tests of real parts, and the reruns of those tests.

A test marked `datapath` starts Open vSwitch in network namespaces of its own. On Linux as root it runs, and fails with
the reason if something it needs is missing; elsewhere it is skipped, and the summary says why. No test is skipped
silently. SLUICE_DATAPATH=skip is for a root that must not create namespaces (an unprivileged container).

A test marked `guest` calls functions in another kernel, under QEMU or as a process. That needs no privileges, so it
runs on every x86_64 Linux that has the kernels and QEMU; as root it fails without them. SLUICE_GUEST=skip skips it.

In every second run one of eighteen hundred tests of real parts failed, a different one each time. So these get a second
try. Those that needed it are listed at the end with their failure, to be fixed; more than `UNSTEADY` of them fail the
run. A test marked `once` watches for a packet that must never pass: its assertions get no second try, other errors do.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

from sluice.lab.guest.kernels import CACHE

REAL = {"datapath", "guest", "images"}
"""Marks of tests of real parts. Others are those in tests/integration, and `test_bus_*.py`, which use a nats-server."""

PURE = (
    *(f"libs/{name}" for name in ("contracts", "kube", "admission", "grouping", "ledger", "policy", "dataplane")),
    *("tests/conformance", "tests/mutate"),
)
"""Folders with tests of the core: they use no clock, so `./task test` runs them in parallel; others run serially."""

UNSTEADY = 3
"""How many tests may need a second try in one run."""

ASSERTED = ["AssertionError", "ExceptionGroup", "DID NOT RAISE"]
"""How failed assertions show up; the exception group of a TaskGroup may contain one."""

PROGRAMS = ("ip", "nft", "openssl", "ovs-ofctl", "ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "suricata")

hypothesis.settings.register_profile("quick", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2_000)
hypothesis.settings.register_profile(  # for tests/mutate: any failure will do, and shrinking takes long
    "mutate",
    deadline=None,
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile(os.environ.get("SLUICE_HYPOTHESIS", "ci" if os.environ.get("CI") else "quick"))


def reason_to_skip() -> str | None:
    """Why this machine does not have to run a real switch, or None if it does."""
    if os.environ.get("SLUICE_DATAPATH") == "skip":
        return "SLUICE_DATAPATH=skip"
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "needs root: run `sudo ./task test`"
    return None


def missing() -> list[str]:
    """What is missing on a machine that has to run a real switch."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if not Path("/dev/net/tun").exists():
        lacking.append("/dev/net/tun")
    return lacking


def judge_guest(item: pytest.Item) -> None:
    if os.environ.get("SLUICE_GUEST") == "skip":
        pytest.skip("guest: SLUICE_GUEST=skip")
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip(f"guest: needs Linux for x86_64, this is {sys.platform} for {platform.machine()}")
    lacking = [
        program for program in ("qemu-system-x86_64", "busybox", "setpriv", "ip", "tc") if not shutil.which(program)
    ]
    lacking += [str(folder) for folder in (CACHE / "debian", CACHE / "user-mode") if not folder.exists()]
    if lacking and os.geteuid() != 0:
        pytest.skip(f"guest: needs {', '.join(lacking)}: run `sudo ./task kernels`")
    if lacking:
        pytest.fail(
            f"{item.name} needs {', '.join(lacking)}: run `./task kernels`, or set SLUICE_GUEST=skip", pytrace=False
        )


@pytest.hookimpl(tryfirst=True)  # before any fixture starts a switch
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("guest") is not None:
        judge_guest(item)
    if item.get_closest_marker("datapath") is None:
        return
    if reason := reason_to_skip():
        pytest.skip(f"datapath: {reason}")
    if lacking := missing():
        pytest.fail(
            f"{item.name} needs {', '.join(lacking)}: run `./task system`, or set SLUICE_DATAPATH=skip", pytrace=False
        )


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by these marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        real = marks & REAL or "integration" in item.path.parts or item.path.name.startswith("test_bus_")
        if real:
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=ASSERTED if "once" in marks else None))
        elif item.nodeid.startswith(tuple(f"{folder}/" for folder in PURE)):
            item.add_marker(pytest.mark.pure)


def unsteady(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    """The failures that were retried."""
    return [report for report in reporter.stats.get("rerun", []) if isinstance(report, pytest.TestReport)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and len(unsteady(reporter)) > UNSTEADY and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tried = unsteady(terminalreporter)
    for report in tried:
        terminalreporter.section(f"failed at the first try: {report.nodeid} ({report.when})")
        terminalreporter.line(report.longreprtext)
    if len(tried) > UNSTEADY:
        terminalreporter.line(f"{len(tried)} tests needed a second try; more than {UNSTEADY} fail the run", red=True)
