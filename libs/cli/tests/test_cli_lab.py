"""`sluice lab`, as far as no switch is needed; tests/e2e has the rest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from sluice.lab.state import LabState, NodeState, PodState, write

OFFLINE = """\
apiVersion: lab.sluice.dev/v1
kind: Scenario
metadata: {name: s, annotations: {lab.sluice.dev/offline: "true"}}
spec:
  objects:
  - {apiVersion: v1, kind: Pod, metadata: {name: a}}
  - {apiVersion: v1, kind: Pod, metadata: {name: b}}
  steps:
  - probes: [{from: default/a, to: default/b, port: 80, expect: EXPECT}]
"""


@pytest.fixture
def empty_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_LAB_ROOT", str(tmp_path / "root"))


def sluice(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = "from sluice.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "lab", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("expect", "code"), [("Allowed", 0), ("Dropped", 1)])
def test_offline_scenarios_need_no_switch(expect: str, code: int, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(OFFLINE.replace("EXPECT", expect))
    done = sluice("run", path, "-o", "json")

    assert (done.returncode, done.stderr) == (code, "")
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert (scenario["ok"], scenario["offline"]) == (code == 0, True)


STATE = LabState(
    name="s",
    pid=7,
    folder="FOLDER",
    nats_url="nats://127.0.0.1:4222",
    manifests="FOLDER/manifests",
    api_url="http://127.0.0.1:8080",
    nodes=(NodeState(node="node-1", netns="n1", ovs="", healthy=False, applied=12, problems=("no switch",)),),
    pods=(PodState(pod="x/a", node="node-1", netns="p1", addresses=("10.0.0.1",), ports=(80,), open=False),),
    restarts={"ingest": 2},
)


def test_status_says_where_everything_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_LAB_ROOT", str(tmp_path))
    (tmp_path / "s").mkdir()
    write(replace(STATE, folder=str(tmp_path / "s")))

    done = sluice("status", "--name", "s")

    assert done.stdout.splitlines() == [
        f"lab s: pid 7, nats://127.0.0.1:4222, {tmp_path}/s",
        "  API http://127.0.0.1:8080",
        "  manifests in FOLDER/manifests",
        "  node-1: NOT healthy, has applied revision 12, n1",
        "    no switch",
        "  x/a: 10.0.0.1 on node-1, ports 80  CLOSED",
        "  ingest was started again 2 times",
    ]


def test_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(OFFLINE.replace("EXPECT", "Perhaps"))

    for words in (["run", path], ["run", tmp_path / "nope.yaml"], ["run"], ["up", "--nodes", "0"], ["demo", "nope"]):
        done = sluice(*words)
        assert done.returncode == 2, done
        assert done.stderr
        assert done.stdout == ""


@pytest.mark.usefixtures("empty_root")
def test_without_a_lab() -> None:
    assert sluice("status").stdout == "no lab runs\n"
    assert sluice("down").stdout == "no lab runs\n"
    for words in (["status", "-o", "json"], ["exec", "a", "--", "true"], ["down", "--name", "x"]):
        done = sluice(*words)
        assert done.returncode == 2, done
        assert "start one by `sluice lab up`" in done.stderr


def test_help_names_every_command() -> None:
    done = sluice("--help")

    assert done.returncode == 0
    for command in ("up", "down", "status", "exec", "run", "demo"):
        assert f"  {command} " in done.stdout
