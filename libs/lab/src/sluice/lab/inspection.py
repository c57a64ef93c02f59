"""The inspection engine of the lab's nodes: node-l7 runs only where it is needed.

An engine costs a node some 80 MB, and the first policy that needs it a second or two, so a lab without layer 7 rules
has none. Each node gets one with the first object that has such a rule, and keeps it until the lab ends. In a lab that
stays, people may also put policies into the manifest folder themselves; then the first program triggers it.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sluice.contracts.ids import NodeName
from sluice.contracts.objects import AntreaNetworkPolicy, ClusterNetworkPolicy
from sluice.dataplane.l7 import handover
from sluice.kube.manifest import Document
from sluice.lab.ovs import BRIDGE, OvsNode
from sluice.lab.processes import Program

PROGRAMS = "programs.l7.>"
"""Subjects of the programs for engines."""

HAND_OVER = "l7.json"
"""In a node's folder; node-ovs reads it."""

LOGS = Path("l7", "log")
"""In a node's folder; for eve-YEAR-MONTH-DAY.json."""


def asked_for(documents: Iterable[Document]) -> bool:
    """Whether one of the objects has a layer 7 rule."""
    return any(
        rule.l7_protocols
        for document in documents
        if isinstance(made := document.object, AntreaNetworkPolicy | ClusterNetworkPolicy)
        for rule in (*made.spec.ingress, *made.spec.egress)
    )


def program(node: NodeName, netns: Path, ovs: OvsNode, folder: Path, variables: Mapping[str, str]) -> Program:
    """The node-l7 of this node, not started yet; `variables` are the common part of its environment."""
    own = {
        "NODE_NAME": node,
        "RUN_DIR": str(ovs.folder),
        "BRIDGE": BRIDGE,
        "ENGINE_DIR": str(folder / "l7"),
        "LOG_DIR": str(folder / LOGS),
        "HAND_OVER": str(folder / HAND_OVER),
        "STATE_DIR": str(folder / "l7" / "state"),
        "NETNS": str(netns),
    }
    return Program(
        [sys.executable, "-P", "-m", "sluice.services.node_l7"],
        {**variables, **{f"SLUICE_NODE_L7_{field}": value for field, value in own.items()}},
        folder / "node-l7.log",
    )


def rule_sets(folder: Path) -> list[str]:
    """Digests of the rule sets that the node's engine has in force, from the file for node-ovs.

    Raises:
        codec.Undecodable: the file was not written by node-l7.
    """
    try:
        return sorted(handover.read((folder / HAND_OVER).read_bytes()).vlans)
    except FileNotFoundError:
        return []
