"""Policies on the lab's nodes themselves: node-host runs only where it is needed, like the inspection engine.

It manages the nftables table in the node's network namespace, which it enters by name: the bus is in the lab's own.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sluice.contracts.ids import NodeName
from sluice.contracts.objects import ClusterGroup, ClusterNetworkPolicy
from sluice.drivers import namespaces
from sluice.drivers.conntrack.kernel import KernelTracker
from sluice.drivers.nftables.tables import Tables
from sluice.kube.manifest import Document
from sluice.lab.processes import Program

PROGRAMS = "programs.host.>"
"""Subjects of the programs for these tables."""

LOG = Path("var/log/antrea/networkpolicy/np.host.log")
"""In a node's folder."""


def asked_for(documents: Iterable[Document]) -> bool:
    """Whether one of the objects is, or may be, a policy on Nodes."""
    made = [document.object for document in documents]
    applied = [entry for one in made if isinstance(one, ClusterNetworkPolicy) for entry in one.spec.applied_to]
    of_nodes = any(isinstance(one, ClusterGroup) and one.spec.node_selector is not None for one in made)
    return any(entry.node_selector is not None or (of_nodes and entry.group) for entry in applied)


def program(node: NodeName, netns: Path, folder: Path, variables: Mapping[str, str]) -> Program:
    """The node-host of this node, not started yet; `variables` are the common part of its environment."""
    own = {"NODE_NAME": node, "NETNS": str(netns), "ROOT": str(folder), "RESOLV_CONF": "/dev/null"}
    return Program(
        [sys.executable, "-P", "-m", "sluice.services.node_host"],
        {**variables, **{f"SLUICE_NODE_HOST_{field}": value for field, value in own.items()}},
        folder / "node-host.log",
    )


def rules_left(netns: Path) -> list[str]:
    """Policy rules in the node's table, by the names of their counters."""
    return sorted(Tables(netns).read().counters)


def forget(netns: Path) -> None:
    """Clear the connection tracker of the node's kernel."""

    def flush() -> None:
        tracker = KernelTracker()
        try:
            tracker.forget(0)
        finally:
            tracker.close()

    namespaces.inside(netns, flush)
