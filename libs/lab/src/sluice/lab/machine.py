"""Whether this machine can run a lab with a real switch."""

import os
import shutil
import sys
from pathlib import Path

PROGRAMS = ("ip", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool")


def lacking() -> list[str]:
    """The reasons why this machine cannot run one, each with what to do; empty if it can."""
    if sys.platform != "linux":
        return [f"network namespaces need Linux, and this is {sys.platform}: use a virtual machine"]
    found = []
    if os.geteuid() != 0:
        found.append("network namespaces need root: use sudo")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        found.append(f"{', '.join(missing)}: not installed: run `./task system`")
    if not Path("/dev/net/tun").exists():
        found.append("/dev/net/tun does not exist: run `modprobe tun`, or give the container that device")
    return found
