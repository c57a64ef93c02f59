"""Policies on the nodes of a lab themselves: node-host runs where somebody asks for it, as the inspection engine does.

It keeps the table of nftables in the node's network namespace, of which it asks by name: the bus is in ours.
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
"""Subjects of what such tables are to hold."""

LOG = Path("var/log/antrea/networkpolicy/np.host.log")
"""In a node's folder."""


def asked_for(documents: Iterable[Document]) -> bool:
    """Whether one of the objects is a policy on Nodes, or may be one."""
    made = [document.object for document in documents]
    applied = [entry for one in made if isinstance(one, ClusterNetworkPolicy) for entry in one.spec.applied_to]
    of_nodes = any(isinstance(one, ClusterGroup) and one.spec.node_selector is not None for one in made)
    return any(entry.node_selector is not None or (of_nodes and entry.group) for entry in applied)


def program(node: NodeName, netns: Path, folder: Path, variables: Mapping[str, str]) -> Program:
    """node-host of this node, which is not started; `variables` are those of its environment that others have, too."""
    own = {"NODE_NAME": node, "NETNS": str(netns), "ROOT": str(folder), "RESOLV_CONF": "/dev/null"}
    return Program(
        [sys.executable, "-P", "-m", "sluice.services.node_host"],
        {**variables, **{f"SLUICE_NODE_HOST_{field}": value for field, value in own.items()}},
        folder / "node-host.log",
    )


def rules_left(netns: Path) -> list[str]:
    """Rules of policies that the node's table holds, by the names of their counters."""
    return sorted(Tables(netns).read().counters)


def forget(netns: Path) -> None:
    """The node's own kernel remembers no connection."""

    def flush() -> None:
        tracker = KernelTracker()
        try:
            tracker.forget(0)
        finally:
            tracker.close()

    namespaces.inside(netns, flush)
