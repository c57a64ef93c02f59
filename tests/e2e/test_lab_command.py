"""`sluice lab` as people use it: what it prints, its exit codes, and what is left afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from sluice.lab import claim, sweep

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SLUICE = (sys.executable, "-c", "from sluice.cli.main import main; main()")
NAME = f"command-{os.getpid()}"

PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: y}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
"""

CLOSED = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: y}
spec: {podSelector: {}}
"""

SCENARIO = """\
apiVersion: lab.sluice.dev/v1
kind: Scenario
metadata: {name: NAME, annotations: {lab.sluice.dev/offline: "OFFLINE"}}
spec:
  manifests: [pods.yaml]
  steps:
  - name: closed
    apply: [closed.yaml]
    probes:
    - {from: x/a, to: y/b, port: 80, expect: EXPECT}
    matrix: {port: 80, default: Allowed, except: [{to: y/b, expect: Dropped}]}
    denials:
    - {object: bad.yaml, message: "label value"}
"""


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Labs of this test have a root of their own, and are gone at its end."""
    monkeypatch.setenv("SLUICE_LAB_ROOT", f"/tmp/sluice-{os.getpid()}")
    yield
    left = [path.name for path in claim.root().glob("*")]
    for name in left:
        sweep.sweep(name, claim.root() / name)
    if claim.root().exists():
        claim.root().rmdir()
    assert left == []


def write(folder: Path, name: str = "s", expect: str = "Dropped", offline: str = "false") -> Path:
    (folder / "pods.yaml").write_text(PODS)
    (folder / "closed.yaml").write_text(CLOSED)
    (folder / "bad.yaml").write_text(CLOSED.replace("podSelector: {}", "podSelector: {matchLabels: {a: -b-}}"))
    path = folder / f"{name}.yaml"
    path.write_text(SCENARIO.replace("NAME", name).replace("EXPECT", expect).replace("OFFLINE", offline))
    return path


def sluice(*words: str | Path, timeout_s: float = 180, group: str = "lab") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SLUICE, group, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=ROOT,
    )


def gone(name: str) -> None:
    """Wait until nothing of the lab is left: its guardian is at work."""
    deadline = time.monotonic() + 60
    while (claim.root() / name).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (claim.root() / name).exists()
    assert sweep.processes(name) == []
    assert sweep.namespaces(name) == []


def test_a_run_that_is_as_expected(tmp_path: Path) -> None:
    done = sluice("run", write(tmp_path), write(tmp_path, "t"), "-o", "json")

    assert (done.returncode, done.stderr) == (0, "")
    report: Any = json.loads(done.stdout)
    assert [scenario["name"] for scenario in report["scenarios"]] == ["s", "t"]
    first = report["scenarios"][0]
    assert first.keys() == {"name", "file", "ok", "seconds", "checks"}
    assert first["ok"] is True
    assert first["file"] == str(tmp_path / "s.yaml")
    probe = {"step": "closed", "from": "x/a", "to": "y/b", "what": "TCP 80", "expect": "Dropped", "got": "Dropped"}
    assert first["checks"] == [
        {**probe, "kind": "probe", "ok": True},
        {**probe, "kind": "matrix", "ok": True},
        {**probe, "kind": "matrix", "ok": True, "from": "y/b", "to": "x/a", "expect": "Allowed", "got": "Allowed"},
        {
            "step": "closed",
            "kind": "denial",
            "from": "",
            "to": "",
            "what": "bad.yaml",
            "expect": "Denied: label value",
            "got": first["checks"][3]["got"],
            "ok": True,
        },
    ]
    assert "label value" in first["checks"][3]["got"]


def test_a_run_that_is_not_as_expected(tmp_path: Path) -> None:
    done = sluice("run", write(tmp_path, expect="Rejected"))

    assert done.returncode == 1
    assert "FAIL s" in done.stdout
    assert "closed: x/a -> y/b TCP 80: expected Rejected, got Dropped" in done.stdout
    assert "ingress: isolated by NetworkPolicy y/closed" in done.stdout
    assert "0 of 1 scenarios as expected, 4 checks" in done.stdout


def test_several_labs_side_by_side(tmp_path: Path) -> None:
    paths = [write(tmp_path, "s"), write(tmp_path, "t", expect="Rejected"), write(tmp_path, "u")]
    done = sluice("run", *paths, "--labs", "2", "-o", "json")

    assert done.returncode == 1
    told = [(scenario["name"], scenario["ok"]) for scenario in json.loads(done.stdout)["scenarios"]]
    assert told == [("s", True), ("t", False), ("u", True)]

    done = sluice("run", *paths, "--labs", "2", "--keep")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--labs" in done.stderr


def test_a_run_as_junit(tmp_path: Path) -> None:
    done = sluice("run", write(tmp_path, expect="Allowed"), "-o", "junit")

    assert done.returncode == 1
    (suite,) = ET.fromstring(done.stdout)
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("4", "1", "0")
    (failure,) = suite.iter("failure")
    assert failure.attrib["message"] == "expected Allowed, got Dropped"


def test_bad_input_starts_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("port: 80, expect", "port: eighty, expect"))
    done = sluice("run", path, write(tmp_path, "good"))

    assert done.returncode == 2
    assert done.stdout == ""
    assert "s.yaml:10: scenario s, step closed: $.spec.steps[0].probes[0].port: Expected `int | null`" in done.stderr


def test_offline_scenarios_say_so_and_may_be_refused(tmp_path: Path) -> None:
    path = write(tmp_path, offline="true")
    done = sluice("run", path)
    refused = sluice("run", path, "--require-datapath", "-o", "json")

    assert done.returncode == 0
    assert "offline: answered by verdict() alone, no packet was sent" in done.stdout
    assert refused.returncode == 1
    (scenario,) = json.loads(refused.stdout)["scenarios"]
    assert (scenario["offline"], scenario["ok"]) == (True, False)
    assert "--require-datapath" in scenario["error"]


def test_a_lab_that_stays(tmp_path: Path) -> None:
    write(tmp_path)
    up = sluice("up", "--name", NAME, "-f", tmp_path / "pods.yaml")
    try:
        assert up.returncode == 0, up.stderr
        assert "x/a: 10.64.0.2 on node-1, ports 80" in up.stdout
        assert sluice("up", "--name", NAME).returncode == 2

        status = json.loads(sluice("status", "-o", "json").stdout)
        assert [(pod["pod"], pod["open"]) for pod in status["pods"]] == [("x/a", True), ("y/b", True)]
        assert status["nodes"][0]["healthy"] is True

        link = sluice("exec", "--name", NAME, "x/a", "--", "ip", "address", "show", "eth0")
        assert "10.64.0.2/32" in link.stdout
        assert sluice("exec", "x/z", "--", "true").returncode == 2
        assert sluice("exec", "x/a", "false").returncode == 1
    finally:
        down = sluice("down", "--name", NAME)
    assert down.returncode == 0, down.stderr
    gone(NAME)
    assert sluice("down").stdout == "no lab runs\n"
    assert sluice("down", "--name", NAME).returncode == 2


def look_at_the_way_of_packets() -> None:
    """`sluice trace`, in a lab in which nobody gets to y/b."""
    way = ("--name", NAME, "--from", "x/a", "--port", "80")
    told = sluice(*way, "--to", "y/b", group="trace")
    assert (told.returncode, told.stderr) == (0, "")
    assert "isolated by NetworkPolicy y/closed (ingress), drop" in told.stdout
    assert (
        told.stdout.splitlines()[-1] == "packet: Dropped on node node-1: isolated by NetworkPolicy y/closed (ingress)"
    )

    back = sluice(
        "--name", NAME, "--from", "y/b", "--to", "x/a", "--port", "80", "--reply", "-o", "json", group="trace"
    )
    said = json.loads(back.stdout)
    assert {kind: told["outcome"] for kind, told in said.items()} == {"packet": "Allowed", "reply": "Allowed"}
    assert said["reply"]["end"] == "to Pod y/b on node node-1: no rule applies to it"
    assert [hop["name"] for hop in said["packet"]["nodes"][0]["hops"]][-1] == "OUTPUT"

    world = ("--name", NAME, "--from", "192.0.2.9", "--port", "80", "-o", "json")
    for end, outcome in (("--to=y/b", "Dropped"), ("--to=x/a", "Allowed")):
        said = json.loads(sluice(*world, end, "--node", "node-1", group="trace").stdout)
        assert said["packet"]["outcome"] == outcome

    for wrong, words in (
        ("--node is missing", ("--name", NAME, "--from", "192.0.2.9", "--to", "192.0.2.1", "--port", "80")),
        ("node-ovs does not run there", (*way, "--to", "y/b", "--from", "192.0.2.9", "--node", "node-9")),
        ("knows no such Pod", (*way, "--to", "y/nobody")),
        ("knows no such Service", (*way, "--to", "svc:y/nobody")),
        ("cannot be the source or destination of a packet", (*way, "--to", "nobody")),
        ("no two addresses of IPv6", (*way, "--to", "y/b", "--family", "6")),
        ("--port is missing", ("--name", NAME, "--from", "x/a", "--to", "y/b")),
    ):
        refused = sluice(*words, group="trace")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert wrong in refused.stderr


def test_a_run_may_leave_its_lab(tmp_path: Path) -> None:
    done = sluice("run", write(tmp_path), "--keep", "--name", NAME, "-o", "json")
    try:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["scenarios"][0]["ok"] is True
        status = json.loads(sluice("status", "-o", "json").stdout)
        assert [pod["pod"] for pod in status["pods"]] == ["x/a", "y/b"]
        assert (Path(status["manifests"]) / "k8snetworkpolicies/y/closed.json").exists()
        look_at_the_way_of_packets()
    finally:
        sluice("down", "--name", NAME)
    gone(NAME)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda each: each.name)
def test_a_lab_whose_owner_is_killed_leaves_nothing(number: signal.Signals) -> None:
    assert sluice("up", "--name", NAME).returncode == 0
    (owner,) = claim.owners()
    os.kill(owner.pid, number)

    gone(NAME)


def pods_of(lab: str) -> list[Path]:
    """The namespaces of the lab's Pods."""
    return [path for path in sweep.namespaces(lab) if ".pod." in path.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def test_a_run_that_is_killed_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("name: closed\n", "name: closed\n    wait: 60s\n", 1))
    running = subprocess.Popen(
        [*SLUICE, "lab", "run", str(path), "--name", NAME],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(pods_of(NAME)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pods_of(NAME)) == 2
    running.send_signal(number)
    running.wait(60)

    gone(NAME)


def test_the_demo() -> None:
    done = sluice("demo")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "=== kubernetes, on node-1 and node-2 ===" in done.stdout
    assert "=== namespace-isolation, on node-1 and node-2 ===" in done.stdout
    assert "=== antrea-policies, on node-1 and node-2 ===" in done.stdout
    assert "NOT AS POLICY SAYS" not in done.stdout
    right, everything = done.stdout.splitlines()[-1].split(" packets")[0].split(" of ")
    assert right == everything


def test_the_demo_where_no_switch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    done = sluice("demo")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "This machine cannot run a real switch" in done.stdout
    assert "ovs-vswitchd" in done.stdout
    right, everything = done.stdout.splitlines()[-1].split(" walked packets")[0].split(" of ")
    assert right == everything
