"""Every example of the README and of `--help` does what it says, as it is written."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sluice.cli import examples
from sluice.cli.main import main
from sluice.lab import claim, sweep
from sluice.runtime.natsserver import NatsServer

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NAME = f"examples-{os.getpid()}"
ALWAYS_RUN = {
    "./task demo": "what CI runs",
    "./task test": "this",
    "sluice lab demo examples/kubernetes": "test_lab_command.py",
    "sluice lab node --nats-url tls://nats:4222 --manifests /manifests --objects /objects": "test_compose.py",
    "sluice lab run tests/conformance/kubernetes/shop.yaml": "test_conformance.py",
}
"""Examples that something else runs, and takes its time for."""

ANSWERS = {"diff", "plan", "rollback"}
"""Commands whose exit code 1 is an answer: something differs."""

IMPORT_INTO = "nats://127.0.0.1:4222"


def of_readme() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = (line.partition(" #")[0].strip() for block in blocks for line in block.splitlines())
    return [line.removeprefix(".venv/bin/") for line in lines if line]


def of_help(command: click.Command, words: str = "") -> Iterator[str]:
    """The lines under `Examples:` in the help of the command, and of all below it."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from of_help(one, f"{words} {name}".strip())
        return
    said = CliRunner().invoke(main, [*words.split(), "--help"], catch_exceptions=False).output
    _, heading, lines = said.partition("\n  Examples:\n")
    assert heading, f"sluice {words} --help has no examples"
    yield from (line.strip() for line in lines.splitlines() if line.strip())


def in_order(told: set[str]) -> list[str]:
    """As the table has them, so that the lab is there when it is asked; those of the README stand by their command."""
    listed = [line for lines in examples.EXAMPLES.values() for line in lines]
    commands = list(examples.EXAMPLES)

    def place(line: str) -> tuple[int, int]:
        words = line.rpartition("sluice ")[2]
        found = max((one for one in commands if words.startswith(one)), key=len, default="")
        assert found, f"{line}: an example of no command"
        return commands.index(found), listed.index(line) if line in listed else -1

    return sorted(told, key=place)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which examples find what they name, and may leave what they make; labs are gone at the end."""
    for name in ("examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_LAB_ROOT", f"/tmp/sluice-{os.getpid()}")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    yield tmp_path
    for name in [path.name for path in claim.root().glob("*")]:
        sweep.sweep(name, claim.root() / name)
    if claim.root().exists():
        claim.root().rmdir()


def run(line: str) -> tuple[int, str]:
    """Its exit code, and what it says. A plain command runs in this process, which saves a start of Python."""
    words = shlex.split(line)
    if words[0] == "sluice" and words[1] != "lab" and not set("|<>&$") & set(line):
        said = CliRunner().invoke(main, words[1:], catch_exceptions=False)
        return said.exit_code, said.output
    line = line.replace("sluice lab up", f"sluice lab up --name {NAME}")  # others may have a lab of the default name
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def into_an_empty_bus(line: str, folder: Path) -> tuple[int, str]:
    """The example, with a bus at another port: on the usual one there may be somebody's."""

    async def go() -> tuple[int, str]:
        server = await NatsServer.start(folder / "nats")
        try:
            return await asyncio.to_thread(run, line.replace(IMPORT_INTO, server.url))
        finally:
            await server.stop()

    return asyncio.run(go())


@pytest.mark.timeout(600)
def test_every_example_runs(bench: Path) -> None:
    told = {*of_readme(), *of_help(main)}
    assert told.issuperset(ALWAYS_RUN), "an example is excused that nobody gives"
    assert {line for lines in examples.EXAMPLES.values() for line in lines} <= told, "an example of no command"
    failed = []
    for line in in_order(told - ALWAYS_RUN.keys()):
        code, said = into_an_empty_bus(line, bench) if IMPORT_INTO in line else run(line)
        if code not in ((0, 1) if line.rpartition("sluice ")[2].split()[0] in ANSWERS else (0,)):
            failed.append(f"$ {line}\n{said}(exit code {code})")
    assert not failed, "\n\n".join(failed)
