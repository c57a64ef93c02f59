"""Break our own code, one line at a time, and see that a test notices: `run.py` all of them, `run.py NAME…` these.

Everything happens in a copy of the working tree. The tests that a mutation names are run there as they are, and those
that fail count for nothing; then with the line broken, when at least one of them has to fail.
"""

import compileall
import os
import py_compile
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.mutate.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]

LONGEST_S = 600
"""For one run of pytest; a test that hangs is ended long before."""

FAILED = 1
"""What pytest exits with when tests ran and some failed; anything else is no verdict. Source: pytest.ExitCode."""

_CULPRIT = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)", re.MULTILINE)
"""A test that failed, whatever its parameters."""


class NotRun(RuntimeError):
    """Nothing can be said: why, and what to do."""


class Result(NamedTuple):
    mutation: Mutation
    by: str
    """The test that noticed; empty if none did."""

    elapsed_s: float


class Copy:
    """The working tree at another place, whose sources win over those that are installed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sick: tuple[str, ...] = ()
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0"):
            original, copied = ROOT / name, root / name
            if name and original.is_file():
                copied.parent.mkdir(parents=True, exist_ok=True)
                copied.write_bytes(original.read_bytes())
        self._sources = sorted(path for kind in ("libs", "services") for path in root.glob(f"{kind}/*/src"))
        # By hash: a file that changes within a second, and keeps its size, is another one.
        for source in self._sources:
            compileall.compile_dir(str(source), quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        self._check()

    def _check(self) -> None:
        """The tests will see the sources of the copy.

        Raises:
            NotRun: they would see others.
        """
        portions = [path.parent for source in self._sources for path in source.glob("sluice/**/py.typed")]
        names = [".".join(path.parts[path.parts.index("src") + 1 :]) for path in portions]
        program = f"import importlib\nfor name in {names!r}: print(importlib.import_module(name).__file__)"
        seen = self._run([sys.executable, "-c", program]).stdout.split()
        strange = [path for path in seen if not Path(path).is_relative_to(self._root)]
        if strange or len(seen) < len(names) or not names:
            raise NotRun(f"the copy in {self._root} is not what is imported, but {strange or seen}; mend run.py")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, self._sources)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SLUICE_HYPOTHESIS": "mutate",
        }
        return subprocess.run(
            command, cwd=self._root, env=environment, check=False, capture_output=True, text=True, timeout=LONGEST_S
        )

    def pytest(self, arguments: Iterable[str]) -> subprocess.CompletedProcess[str]:
        quiet = ["-q", "--tb=no", "-p", "no:cacheprovider", "--timeout=60"]
        sick = [f"--deselect={test}" for test in self._sick]
        return self._run([sys.executable, "-m", "pytest", *quiet, *sick, *arguments])

    def examine(self, mutations: Iterable[Mutation]) -> tuple[str, ...]:
        """The tests that fail before anything is broken. Their failure says nothing, so they are left out from now on.

        Raises:
            NotRun: pytest did not get as far as its tests.
        """
        ran = self.pytest(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
        if ran.returncode not in (0, FAILED):
            raise NotRun(f"pytest exits with {ran.returncode} before anything is broken\n{ran.stdout}{ran.stderr}")
        self._sick = tuple(sorted(set(_CULPRIT.findall(ran.stdout))))
        return self._sick

    def judge(self, mutation: Mutation) -> Result:
        """What the tests say of the mutation.

        Raises:
            NotRun: its line is not there once, or pytest did not get as far as its tests.
        """
        file = self._root / mutation.file
        whole = file.read_text()
        if reason := missing(mutation, self._root):
            raise NotRun(reason)
        started_s = time.monotonic()
        file.write_text(whole.replace(mutation.line, mutation.broken))
        try:
            ran = self.pytest(("-x", *mutation.tests))
        finally:
            file.write_text(whole)
        if ran.returncode not in (0, FAILED):
            said = f"{ran.stdout}{ran.stderr}"
            raise NotRun(f"{mutation.name}: pytest exits with {ran.returncode} and no test failed\n{said}")
        culprit = _CULPRIT.search(ran.stdout)
        by = (culprit[1] if culprit else "a test") if ran.returncode else ""
        return Result(mutation, by, time.monotonic() - started_s)


def missing(mutation: Mutation, root: Path) -> str:
    """Why the mutation cannot be made; empty if it can."""
    file = root / mutation.file
    if not file.is_file():
        return f"{mutation.name}: there is no {mutation.file}; name the file that has the line now"
    found = file.read_text().count(mutation.line)
    if found == 1:
        return ""
    return f"{mutation.name}: {mutation.file} has the line {found} times, not once; write it as it is now"


def main(names: list[str]) -> int:
    known = {mutation.name: mutation for mutation in MUTATIONS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"{', '.join(unknown)}: no such mutation; there are\n  " + "\n  ".join(known), file=sys.stderr)
        return 2
    wanted = [known[name] for name in names] or list(MUTATIONS)
    width = max(len(mutation.name) for mutation in wanted)
    survived = 0
    with tempfile.TemporaryDirectory(prefix="sluice-mutate-") as folder:
        try:
            copy = Copy(Path(folder).resolve())
            sick = copy.examine(wanted)
        except NotRun as reason:
            print(reason, file=sys.stderr)
            return 1
        for test in sick:
            print(f"{test} fails before anything is broken, so it counts for nothing; mend it")
        print(f"{'mutation':<{width}}  caught  seconds  by")
        for mutation in wanted:
            try:
                result = copy.judge(mutation)
            except NotRun as reason:
                survived += 1
                print(f"{mutation.name:<{width}}  ?\n{reason}", flush=True)
                continue
            survived += not result.by
            caught = "yes" if result.by else "NO"
            print(f"{mutation.name:<{width}}  {caught:<6}  {result.elapsed_s:7.1f}  {result.by}", flush=True)
    print(f"{len(wanted) - survived} of {len(wanted)} caught")
    return 1 if survived or sick else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
