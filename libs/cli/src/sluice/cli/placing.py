"""Completes objects of manifests as a cluster would: Pods on nodes, with addresses, placed as in the lab."""

from collections.abc import Sequence
from itertools import count

from sluice.cli.options import refuse
from sluice.cli.uncollected import uncollected
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Node, Pod
from sluice.kube.manifest import Document
from sluice.lab.world import NotPlaceable, World

FIRST = (Kind.NODE, Kind.NAMESPACE)
"""Kinds that others depend on."""


@uncollected()
def placed(documents: Sequence[Document]) -> World:
    """The objects with missing fields filled in deterministically; an object without a place ends the command."""
    numbers = count(1)
    world = World(_nodes(documents), lambda: f"uid-{next(numbers)}", lambda: "")
    for document in sorted(documents, key=lambda document: document.kind not in FIRST):
        try:
            world.put(document)
        except NotPlaceable as error:
            refuse([f"{document.file}:{document.line}: {document.path}: {error}"])
    return world


def _nodes(documents: Sequence[Document]) -> list[str]:
    """The existing Nodes and those named by Pods; one by default."""
    objects = [document.object for document in documents]
    named = {obj.metadata.name for obj in objects if isinstance(obj, Node)}
    named |= {obj.node for obj in objects if isinstance(obj, Pod) and obj.node}
    return sorted(named) or ["node-1"]
