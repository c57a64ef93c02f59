"""`sluice compile` on a large cluster: work in proportion to input and output, and a node for the price of a node."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.cli.compile_ovs import Switches
from sluice.cli.derived import Derived
from sluice.cli.loading import load_all
from sluice.cli.placing import placed
from sluice.kube.manifest import Document
from sluice.testkit.work import work


def manifests(teams: int, nodes: int, *, services: bool) -> Iterator[Mapping[str, Any]]:
    """A Namespace for each team, with Pods on one node; a policy lets in two teams. The first node has one team."""
    for number in range(teams):
        name, node = f"team-{number:03}", f"node-{1 + number % (nodes - 1) if number else 0:03}"
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}}
        for index in range(3):
            meta: dict[str, Any] = {
                "name": f"pod-{index}",
                "namespace": name,
                "labels": {"app": "web", "index": str(index)},
            }
            containers = [{"name": "web", "ports": [{"containerPort": 8080}]}]
            spec: dict[str, Any] = {"nodeName": node, "containers": containers}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        for index in range(2 if services else 0):
            meta = {"name": f"web-{index}", "namespace": name}
            spec = {"type": "NodePort", "selector": {"app": "web", "index": str(index)}, "ports": [{"port": 80}]}
            yield {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
        friends = [{"namespaceSelector": {"matchLabels": {"team": f"team-{one:03}"}}} for one in (number ^ 1, number)]
        yield {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "friends", "namespace": name},
            "spec": {"podSelector": {}, "ingress": [{"from": friends}]},
        }


def loaded(folder: Path, teams: int, *, nodes: int, services: bool = True) -> list[Document]:
    file = folder / f"{teams}.json"
    file.write_text("\n".join(map(json.dumps, manifests(teams, nodes, services=services))))
    return load_all([str(file)])


def compiled(documents: list[Document]) -> None:
    world = placed(documents)
    assert Switches(world, Derived(world.objects)).of(world.nodes[0]).flows


def test_twice_the_cluster_is_twice_the_work(tmp_path: Path) -> None:
    """Nodes, Pods, Services and policies: were one of them multiplied by another, it would be three to four times."""
    compiled(loaded(tmp_path, 4, nodes=4))  # what is done only once in a process
    few, many = loaded(tmp_path, 30, nodes=30), loaded(tmp_path, 60, nodes=60)

    assert work(lambda: compiled(many)) < 2.25 * work(lambda: compiled(few))


def test_a_node_costs_what_it_holds(tmp_path: Path) -> None:
    def one_node(teams: int) -> int:
        world = placed(loaded(tmp_path, teams, nodes=5, services=False))
        switches = Switches(world, Derived(world.objects))
        switches.of(world.nodes[1])  # after which nothing is left that is done once for all nodes
        return work(lambda: switches.of(world.nodes[0]))

    one_node(5)

    assert one_node(60) < 1.1 * one_node(15)
