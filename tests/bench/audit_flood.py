"""Packets that a rule logs, so many a second, and where each of them is in np.log."""

import re
import socket
import struct
import subprocess
import time
from collections import Counter
from pathlib import Path

from sluice.contracts.audit import FlowDecision
from sluice.dataplane.audit import np_line
from sluice.dataplane.ovs.pipeline import Table
from sluice.drivers import namespaces
from sluice.kube.manifest import Document
from sluice.lab.node import LabNode
from sluice.testkit.manifests import read

OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x, labels: {app: a}}
spec: {containers: [{name: main, image: any, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: x, labels: {app: b}}
spec: {containers: [{name: main, image: any}]}
---
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: logged}
spec:
  priority: 5
  appliedTo: [{podSelector: {matchLabels: {app: a}}}]
  ingress:
    - {name: denied, action: Drop, enableLogging: true, ports: [{protocol: UDP, port: 53}]}
    - {name: allowed, action: Allow, enableLogging: true, ports: [{protocol: UDP, port: 1000, endPort: 1999}]}
"""

ALIKE = 4
"""So many denials in a row look alike."""

_UDP = struct.Struct("!HHHH")
_BURST_S = 0.01


def objects() -> list[Document]:
    return read(OBJECTS)


def flood(netns: Path, to: str, per_second: int, seconds: float, first: int = 0) -> None:
    """Half of the packets are denied, and half begin a connection each; none that packets below `first` began."""
    out = namespaces.inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
    with out:
        begun, sent, total = time.monotonic(), 0, round(per_second * seconds)
        while sent < total:
            due = min(total, round((time.monotonic() - begun) * per_second))
            for number in range(sent, due):
                out.sendto(_packet(first + number), (to, 0))
            sent = due
            time.sleep(_BURST_S)


def _packet(number: int) -> bytes:
    pair, allowed = divmod(number, 2)
    ports = (1024 + pair % 60_000, 1000 + pair // 60_000) if allowed else (1024 + pair // ALIKE % 60_000, 53)
    return _UDP.pack(*ports, _UDP.size, 0)  # no checksum: RFC 768 has it optional


def handed_over(node: LabNode) -> int:
    """How many packets flows have handed over to be logged."""
    return sum(_packets(node, table, r"controller\(id=2") for table in (Table.INGRESS_TIER, Table.AUDIT))


def begun(node: LabNode) -> tuple[int, int]:
    """How many connections rules have had logged as allowed, and how many the tracker was told to remember."""
    return _packets(node, Table.AUDIT, r"controller\(id=2"), _packets(node, Table.COMMIT, r"ct\(commit")


def _packets(node: LabNode, table: Table, does: str) -> int:
    bridge = f"unix:{node.ovs.mgmt_socket()}"
    words = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=10", "dump-flows", bridge, f"table={table:d}"]
    flows = subprocess.run(words, text=True, check=True, timeout=20, capture_output=True).stdout
    return sum(int(packets) for packets in re.findall(rf"n_packets=(\d+).*{does}", flows))


def accounted(node: LabNode) -> Counter[str]:
    """Packets by what became of them: `written`, `duplicate`, or why they are in no line."""
    counts: Counter[str] = Counter()
    for line in node.audit_log.read_text().splitlines() if node.audit_log.exists() else ():
        said = np_line.read(line)
        if isinstance(said, FlowDecision):
            counts.update(written=1, duplicate=said.packets - 1)
        else:
            counts[said.reason] += said.lines
    return counts
