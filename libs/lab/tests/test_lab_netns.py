"""The lab's namespaces beside those of `ip netns`."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.datapath

FRESH = textwrap.dedent("""
    import ctypes, subprocess
    from sluice.lab import netns
    assert ctypes.CDLL(None).mount(b"none", b"/run", b"tmpfs", 0, None) == 0  # a machine that has just started
    path = netns.create("a", "test")
    subprocess.run(["ip", "netns", "add", "other"], check=True)
    later = netns.create("b", "test")
    netns.remove(path)
    netns.remove(later)
    print(subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout)
""")


def test_on_a_machine_where_nobody_made_a_namespace_before_each_can_be_removed():
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", FRESH]
    ran = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30)
    assert (ran.stdout.strip(), ran.returncode) == ("other", 0), ran.stderr
