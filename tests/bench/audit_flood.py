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
from sluice.kube.manifest import Document, parse
from sluice.lab.node import LabNode

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
    return [one for one in parse(OBJECTS, "audit.yaml") if isinstance(one, Document)]


def flood(netns: Path, to: str, per_second: int, seconds: float) -> None:
    """Half of the packets are denied, and half begin a connection each."""
    out = namespaces.inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
    with out:
        begun, sent, total = time.monotonic(), 0, round(per_second * seconds)
        while sent < total:
            due = min(total, round((time.monotonic() - begun) * per_second))
            for number in range(sent, due):
                out.sendto(_packet(number), (to, 0))
            sent = due
            time.sleep(_BURST_S)


def _packet(number: int) -> bytes:
    pair, allowed = divmod(number, 2)
    ports = (1024 + pair % 60_000, 1000 + pair // 60_000) if allowed else (1024 + pair // ALIKE % 60_000, 53)
    return _UDP.pack(*ports, _UDP.size, 0)  # no checksum: RFC 768 has it optional


def handed_over(node: LabNode) -> int:
    """How many packets flows have handed over to be logged."""
    bridge = f"unix:{node.ovs.mgmt_socket()}"
    words = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=10", "dump-flows", bridge]
    flows = subprocess.run(words, text=True, check=True, timeout=20, capture_output=True).stdout
    found = re.findall(rf"table=({Table.INGRESS_TIER:d}|{Table.AUDIT:d}), n_packets=(\d+).*controller\(id=2", flows)
    return sum(int(packets) for _, packets in found)


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
