"""The import contracts can fail: a tree that breaks each of them once is reported, line by line."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PORTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]


class Breach(NamedTuple):
    importer: str
    imported: str
    name: str  # as the report writes it: packages of others are told by their first name


BREACHES = [
    Breach("sluice.contracts", "nats.aio.client", "nats"),
    Breach("sluice.kube", "time", "time"),
    Breach("sluice.admission", "sluice.kube", "sluice.kube"),
    Breach("sluice.grouping", "sluice.policy", "sluice.policy"),
    Breach("sluice.policy", "os.path", "os"),
    Breach("sluice.dataplane", "asyncio.events", "asyncio"),
    Breach("sluice.drivers", "sluice.admission", "sluice.admission"),
    Breach("sluice.runtime", "sluice.drivers", "sluice.drivers"),
    Breach("sluice.runtime", "sluice.lab", "sluice.lab"),
    Breach("sluice.services.ingest", "sluice.services.node_ovs", "sluice.services.node_ovs"),
    Breach("sluice.services.rule_compiler", "sluice.testkit", "sluice.testkit"),
    Breach("sluice.testkit", "sluice.runtime", "sluice.runtime"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    tree = tmp_path_factory.mktemp("breaches")
    for portion in PORTIONS:
        module = tree / Path(*portion.split(".")) / "__init__.py"
        module.parent.mkdir(parents=True)
        module.write_text("".join(f"import {breach.imported}\n" for breach in BREACHES if breach.importer == portion))
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: f"{breach.importer} imports {breach.imported}")
def test_a_breach_is_named(report: str, breach: Breach) -> None:
    assert f"{breach.importer} -> {breach.name} (l." in report
