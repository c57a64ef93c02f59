"""Podman for the tests: its settings, its store, and the one base, made by debootstrap under the official name.

No registry of images is asked. Store and base stay in ~/.cache/sluice/images, so that a second run builds what changed.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sluice" / "images"
BASE = "docker.io/library/python:3.11-slim-bookworm"
NATS = "docker.io/library/nats:2.12-alpine"
PROMETHEUS = "docker.io/prom/prometheus:v2.53.2"
"""As deploy/compose names them; what is run under these names is the pinned server, and Debian's Prometheus."""

NONE: Mapping[str, str] = MappingProxyType({})
PROGRAMS = ("podman", "debootstrap", "runc", "iptables")

VERSION = f"test-{sha256(bytes(ROOT)).hexdigest()[:8]}"
"""Of this copy of the repository; others on this machine have theirs."""

PROJECT = f"sluice-{VERSION}"
"""Begins the names of containers, volumes and networks."""

CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]   # more than that takes CAP_SYS_RESOURCE
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"                                 # no systemd needed
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{networks}"
"""

STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{store}"
runroot = "{run}"
"""


class Podman:
    def __init__(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "containers.conf").write_text(CONTAINERS.format(networks=CACHE / "networks"))
        driver = "overlay" if overlay_works() else "vfs"
        settings = STORAGE.format(driver=driver, store=CACHE / driver, run=f"/run/sluice-images/{driver}")
        (CACHE / "storage.conf").write_text(settings)
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(CACHE / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(CACHE / "storage.conf"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def run(self, *words: str, check: bool = True, timeout_s: float = 600, variables: Mapping[str, str] = NONE) -> str:
        """What the command prints. Podman's own complaints are in the error."""
        done = subprocess.run(
            words,
            check=False,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=ROOT / "deploy" / "compose",
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def __call__(self, *words: str, check: bool = True, timeout_s: float = 600) -> str:
        return self.run("podman", *words, check=check, timeout_s=timeout_s)

    def json(self, *words: str) -> Any:
        return json.loads(self(*words))

    def ensure_base(self) -> None:
        """The base is there, under the name that the Dockerfile uses."""
        if self("images", "--quiet", BASE).strip():
            return
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            self.run("debootstrap", "--variant=minbase", "--include=python3", "bookworm", made, mirror())
            for waste in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"):
                shutil.rmtree(Path(made, waste))
            Path(made, "var/lib/apt/lists").mkdir()
            self.run("sh", "-c", 'tar -C "$0" -c . | podman import --quiet - "$1"', made, BASE)

    def remains(self) -> dict[str, list[str]]:
        """What there is of the project, by kind."""
        listed = {
            "containers": self("ps", "--all", "--format", "{{.Names}}"),
            "volumes": self("volume", "ls", "--format", "{{.Name}}"),
            "networks": self("network", "ls", "--format", "{{.Name}}"),
        }
        return {kind: [name for name in text.split() if name.startswith(PROJECT)] for kind, text in listed.items()}


def overlay_works() -> bool:
    """The kernel mounts overlays in the cache; without them every layer is a copy."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        places = {name: Path(folder, name) for name in ("lower", "upper", "work", "there")}
        for place in places.values():
            place.mkdir()
        options = f"lowerdir={places['lower']},upperdir={places['upper']},workdir={places['work']}"
        words = ["mount", "-t", "overlay", "overlay", "-o", options, str(places["there"])]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", str(places["there"])], check=True)
        return True


def mirror() -> str:
    """Where this machine gets Debian's packages from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return next(line.split()[2] for line in listed.splitlines() if line.startswith("bookworm main "))


def reason_to_skip() -> str | None:
    """Why this machine is not asked to run containers, or None if it is."""
    if os.environ.get("SLUICE_CONTAINERS") == "skip":
        return "SLUICE_CONTAINERS=skip"
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return f"needs Linux for x86_64, this is {sys.platform} for {platform.machine()}"
    if os.geteuid() != 0:
        return "needs root: run `sudo ./task test:images`"
    return None


def missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]
