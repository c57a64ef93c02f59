"""Settings of a namespace, as a container writes them whose own /proc/sys is read-only."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.datapath

CONTAINER = textwrap.dedent("""
    import ctypes, sys
    from pathlib import Path
    from sluice.drivers import sysctl
    BIND, REMOUNT, READ_ONLY = 4096, 32, 1
    def mount(source, target, flags):
        assert ctypes.CDLL(None).mount(source.encode(), target.encode(), b"none", flags, None) == 0, target
    host = Path(sys.argv[1])
    mount("/proc/sys", "/proc/sys", BIND)
    mount("none", "/proc/sys", BIND | REMOUNT | READ_ONLY)
    try:
        sysctl.no_ipv6("lo")
    except OSError as error:
        print(error.errno)
    (host / "net").mkdir()
    mount("/proc/sys/net", str(host / "net"), BIND)
    mount("none", str(host / "net"), BIND | REMOUNT)
    sysctl.PLACES = (host, *sysctl.PLACES)
    sysctl.no_ipv6("lo")
    print(Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").read_text().strip())
    sysctl.write("net/ipv4/no/such/setting", "1")
""")


def test_the_hosts_settings_are_written_where_the_containers_cannot_be(tmp_path: Path) -> None:
    words = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, "-c", CONTAINER]
    ran = subprocess.run([*words, str(tmp_path)], check=False, capture_output=True, text=True, timeout=30)

    assert (ran.stdout.split(), ran.returncode) == (["30", "1"], 0), ran.stderr
