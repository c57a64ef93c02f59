"""What every test of the repository shares: Hypothesis profiles, and who may run tests that need a real switch.

A test marked `datapath` starts Open vSwitch in network namespaces of its own. On Linux as root it runs, and fails with
the reason if something it needs is missing; anywhere else it is skipped, and the summary says why. Nothing decides
silently. SLUICE_DATAPATH=skip is for a root that may not make namespaces (a container without privileges).

A test marked `guest` calls functions in another kernel, under QEMU or as a process. That takes no rights, so it runs
on every Linux for x86_64 that has the kernels and QEMU; as root it fails without them. SLUICE_GUEST=skip says no.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

from sluice.lab.guest.kernels import CACHE

PROGRAMS = ("ip", "nft", "openssl", "ovs-ofctl", "ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "suricata")

hypothesis.settings.register_profile("quick", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2_000)
hypothesis.settings.register_profile(  # for tests/mutate: a failure is enough, the least one takes long to find
    "mutate",
    deadline=None,
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile(os.environ.get("SLUICE_HYPOTHESIS", "ci" if os.environ.get("CI") else "quick"))


def reason_to_skip() -> str | None:
    """Why this machine is not asked to run a real switch, or None if it is."""
    if os.environ.get("SLUICE_DATAPATH") == "skip":
        return "SLUICE_DATAPATH=skip"
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "needs root: run `sudo ./task test`"
    return None


def missing() -> list[str]:
    """What a machine that is asked to run a real switch lacks."""
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
