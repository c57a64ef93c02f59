"""OFFLINE: commands that read manifests, on a large cluster: 21,300 objects on 60 nodes.

300 Namespaces, in each 60 Pods of 3 kB as a server stores them, 5 Services, 3 NetworkPolicies, an Antrea NetworkPolicy
and a ClusterNetworkPolicy. Each command runs in a process of its own. `-m tests.bench.offline OFFLINE 100 lint`
is a third of the cluster and only that command.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, show

from sluice.testkit.apiserver import workloads

NAMESPACES, PODS, NODES, ROLES, SERVICES = 300, 60, 60, 6, 5

Json = Mapping[str, Any]
"""An object of Kubernetes."""


def namespace(number: int) -> Iterator[Json]:
    """A Namespace and what is in it; its Pods are spread over all nodes."""
    name = f"team-{number:04}"
    stage = {"stage": ("production", "test", "development")[number % 3]}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name, **stage}}}
    for index in range(PODS):
        place = number * PODS + index
        labels = {"app": f"app-{index % ROLES}"}
        address = f"10.{64 + place // 65_000}.{place % 65_000 // 250}.{1 + place % 250}"
        yield workloads.pod(name, f"pod-{index}", node=f"node-{place * 7 % NODES:03}", ip=address, labels=labels)
    for index in range(SERVICES):
        served = {"selector": {"app": f"app-{index}"}, "ports": [{"port": 80, "targetPort": 8080}]}
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"web-{index}", "namespace": name},
            "spec": served,
        }
    yield _policy(name, "closed", {"podSelector": {}, "policyTypes": ["Ingress"]})
    port = {"protocol": "TCP", "port": 8080}
    own = {"from": [{"podSelector": _labels(app="app-1")}], "ports": [port]}
    yield _policy(name, "own", {"podSelector": _labels(app="app-0"), "ingress": [own]})
    peers = {
        "from": [{"namespaceSelector": {"matchLabels": stage}, "podSelector": _labels(app="app-3")}],
        "ports": [port],
    }
    yield _policy(name, "stage", {"podSelector": _labels(app="app-2"), "ingress": [peers]})
    resource = {"apiVersion": "crd.antrea.io/v1beta1"}
    rules = [
        {"action": "Allow", "from": [{"podSelector": _labels(app="app-5")}], "ports": [port]},
        {"action": "Drop", "name": "rest", "from": [{"podSelector": {}}]},
    ]
    spec: dict[str, Any] = {"priority": 5, "appliedTo": [{"podSelector": _labels(app="app-4")}], "ingress": rules}
    yield {**resource, "kind": "NetworkPolicy", "metadata": {"name": "one", "namespace": name}, "spec": spec}
    rules = [
        {"action": "Pass", "from": [{"namespaceSelector": _labels(team=name)}]},
        {"action": "Drop", "name": "telnet", "ports": [{"protocol": "TCP", "port": 23}]},
    ]
    applied = [{"namespaceSelector": _labels(team=name)}]
    spec = {"priority": 7, "tier": "platform", "appliedTo": applied, "ingress": rules}
    yield {**resource, "kind": "ClusterNetworkPolicy", "metadata": {"name": name}, "spec": spec}


def _labels(**labels: str) -> Json:
    return {"matchLabels": labels}


def _policy(of: str, name: str, spec: Json) -> Json:
    meta = {"name": name, "namespace": of}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def written(folder: Path, namespaces: int) -> int:
    """Write the cluster into the folder, a file for each Namespace; returns the number of objects."""
    count = 0
    for number in range(namespaces):
        items = list(namespace(number))
        count += len(items)
        (folder / f"team-{number:04}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return count


COMMANDS: Mapping[str, Sequence[str]] = {
    "compile, one node": ("compile", "--backend", "ovs", "--node", "node-003"),
    "compile, four nodes": ("compile", "--backend", "ovs", *(f"--node=node-00{number}" for number in range(4))),
    "verdict": ("verdict", "--from", "team-0000/pod-1", "--to", "team-0000/pod-0", "--port", "8080"),
    "validate": ("validate",),
    "lint": ("lint",),
    "plan, one policy deleted": ("plan", "--delete", "NetworkPolicy/closed", "-n", "team-0000", "--against"),
}
"""The words before the folder; the last option takes it, or `-f` does."""


def run(command: Sequence[str]) -> tuple[float, int, int]:
    """CPU seconds, peak memory in kB, and lines of output. A finding is no failure, unusable input is."""
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.execv(sys.executable, [sys.executable, "-c", "from sluice.cli.main import main; main()", *command])
        _, status, used = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 1), f"{' '.join(command)}: exit code {code}"
        out.seek(0)
        return used.ru_utime + used.ru_stime, used.ru_maxrss, sum(1 for _ in out)


def main(name: str, namespaces: int = NAMESPACES, *others: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        objects = written(Path(folder), namespaces)
        for what, words in COMMANDS.items():
            if others and what not in others:
                continue
            began = time.perf_counter()
            last = (folder,) if words[-1] == "--against" else ("-f", folder)
            cpu_s, peak_kb, lines = run((*words, *last))
            seconds = time.perf_counter() - began
            show(
                Figure(name, f"{objects:,} objects on {NODES} nodes: {what}", seconds, "s", cpu=cpu_s), f"{lines} lines"
            )
            show(Figure(name, "the same, peak memory", peak_kb / 1_024, "MB"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else NAMESPACES, *sys.argv[3:])
