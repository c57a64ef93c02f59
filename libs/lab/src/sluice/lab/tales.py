"""The stories that the demo shows: a cluster without policies, and then one change after the other."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from msgspec import Struct

from sluice.contracts.ids import NodeName
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import Pod
from sluice.kube.manifest import Document
from sluice.lab import reading
from sluice.lab.checks import Question
from sluice.lab.parts import ProbeProtocol
from sluice.lab.reading import BadScenario, Story
from sluice.lab.scenario import ObjectName
from sluice.lab.world import Key, World

POLICIES = frozenset({Kind.K8S_NETWORK_POLICY, Kind.CLUSTER_NETWORK_POLICY, Kind.ANTREA_NETWORK_POLICY})
"""Kinds of policies."""


NODES = (NodeName("node-1"), NodeName("node-2"))
"""Nodes for manifests that are not scenarios: Pods without a node are spread over these, in order."""


class Change(Struct, frozen=True, kw_only=True):
    title: str
    apply: tuple[Document, ...] = ()
    delete: tuple[ObjectName, ...] = ()


class Tale(Struct, frozen=True, kw_only=True):
    name: str
    nodes: tuple[str, ...]
    objects: tuple[Document, ...]
    """The initial objects: no policies, unless a scenario begins with some."""

    changes: tuple[Change, ...]


def read(folders: Sequence[Path]) -> list[Tale]:
    """A tale for each scenario in the folders, and one for each folder of plain manifests with policies.

    Raises:
        BadScenario: there is none, or something cannot be read.
    """
    tales = [tale for folder in folders for tale in _in(folder)]
    if not tales:
        raise BadScenario([f"{', '.join(map(str, folders))}: no policies in there: name a folder of manifests"])
    return tales


def _in(folder: Path) -> Iterator[Tale]:
    if not folder.is_dir():
        raise BadScenario([f"{folder}: no such folder"])
    try:
        scenarios = reading.find([folder])
    except BadScenario:
        yield from _plain(folder)
        return
    for path in scenarios:
        yield from (_told(story) for story in reading.read_file(path))


def _told(story: Story) -> Tale:
    """The scenario's objects and changes, without its expectations."""
    changes = tuple(
        Change(title=told.name, apply=told.apply, delete=told.step.delete)
        for told in story.steps
        if told.apply or told.step.delete
    )
    early = tuple(each for each in story.objects if each.kind in POLICIES)
    if early:
        changes = (Change(title=_names(early), apply=early), *changes)
    return Tale(
        name=story.name,
        nodes=story.scenario.spec.nodes,
        objects=tuple(each for each in story.objects if each.kind not in POLICIES),
        changes=changes,
    )


def _plain(folder: Path) -> Iterator[Tale]:
    """Everything but policies is there from the start; each file with policies is a change, in order of file names."""
    documents = [each for each in reading.load_manifests(folder, str(folder)) if isinstance(each, Document)]
    policies = groupby((each for each in documents if each.kind in POLICIES), key=lambda each: each.file)
    changes = [Change(title=Path(file).name, apply=tuple(held)) for file, held in policies]
    if changes:
        yield Tale(
            name=folder.name,
            nodes=NODES,
            objects=tuple(each for each in documents if each.kind not in POLICIES),
            changes=tuple(changes),
        )


def _names(documents: Sequence[Document]) -> str:
    return ", ".join(f"{RESOURCES[each.kind].kind} {'/'.join(filter(None, each.object.key))}" for each in documents)


def questions(world: World) -> list[Question]:
    """Every Pod to every port that another declares; to a Pod without ports, an echo request."""
    pods = {name: pod for name, pod in sorted(world.pods().items()) if not pod.host_network}
    asked = []
    for source in pods.values():
        for target in pods.values():
            if source == target:
                continue
            for protocol, port in _ports(world, target.pod):
                asked.append(
                    Question(
                        kind="matrix",
                        from_=source.pod,
                        to=target.pod,
                        what=f"{protocol} {port}" if port else protocol,
                        expect="Allowed",
                        protocol=protocol,
                        source=source.addresses[0],
                        address=target.addresses[0],
                        port=port,
                    )
                )
    return asked


def _ports(world: World, name: str) -> list[tuple[ProbeProtocol, int]]:
    pod = world.objects[Key(Kind.POD, *name.split("/"))].object
    assert isinstance(pod, Pod)
    declared: set[tuple[ProbeProtocol, int]] = {
        (port.protocol, port.container_port) for container in pod.spec.containers for port in container.ports
    }
    return sorted(declared) or [("ICMP", 0)]
