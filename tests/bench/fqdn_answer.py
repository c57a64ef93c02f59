"""FQDN: how much longer an answer of DNS takes when rules about names apply to the Pod that asked.

One Pod asks a server of the lab for one name after the other, over UDP: without a rule; with one, for names that are
known (nothing changes, so the answer goes on at once) and for new ones (one flow each goes into the switch first, and
the datapath's cache is purged). The last is at the bound of what is kept for one Pod: each forgets another. Needs root
and Open vSwitch.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from statistics import quantiles

from tests.bench.figures import Figure, show

from sluice.contracts.ids import Address
from sluice.dataplane.dns.message import PORT, Kind, read
from sluice.dataplane.dns.writing import question
from sluice.drivers import namespaces
from sluice.lab.lab import Lab
from sluice.lab.nameserver import SERVERS
from sluice.lab.scenario import DnsRecord
from sluice.testkit import manifests

ASKED = 200
KNOWN = 700
TIMEOUT_S = 5.0

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: x}
spec: {containers: [{name: c}]}
status: {podIPs: [{ip: 10.64.0.9}]}
"""
POLICY = """\
apiVersion: crd.antrea.io/v1beta1
kind: NetworkPolicy
metadata: {name: web, namespace: x}
spec:
  priority: 1
  appliedTo: [{podSelector: {}}]
  egress:
    - {action: Allow, to: [{ipBlock: {cidr: 203.0.113.53/32}}]}
    - {action: Allow, to: [{fqdn: "*.foobar.com"}]}
    - {action: Drop}
"""


def name(number: int) -> str:
    return f"n{number}.foobar.com"


def ask(names: Sequence[str]) -> list[float]:
    """Milliseconds until each answer. Runs inside the Pod's namespace."""
    took = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect((SERVERS["IPv4"], PORT))
        for number, each in enumerate(names):
            sent = time.perf_counter()
            sock.send(question(number & 0xFFFF, each, Kind.A))
            try:
                while read(sock.recv(4096)).name != each:
                    pass
            except TimeoutError:
                took.append(TIMEOUT_S * 1000)
                continue
            took.append((time.perf_counter() - sent) * 1000)
    return took


async def main() -> None:
    async with await Lab.start() as lab:
        await lab.use(("node-1",), {}, serves_names=True)
        count = 2 * ASKED + KNOWN
        records = {
            name(number): DnsRecord(ips=(f"198.18.{number >> 8}.{number & 0xFF}",), ttl=3600) for number in range(count)
        }
        await lab.say_names(records)
        await lab.change(apply=manifests.read(POD))
        await lab.realised()
        pod = lab.sandboxes()["x/client"].netns

        async def measure(what: str, first: int, *, times: int = ASKED, told: bool = True) -> None:
            names = [name(number) for number in range(first, first + times)]
            took = await asyncio.to_thread(namespaces.inside, pod, lambda: ask(names))
            if told:
                cuts = quantiles(took, n=100)
                for label, value in (("p50", cuts[49]), ("p99", cuts[98])):
                    show(Figure("FQDN", f"an answer of DNS, {what}, {label} of {times}", value, "ms"))

        await measure("no rule about names", 0)
        await lab.change(apply=manifests.read(POLICY))
        await lab.realised()
        await measure("new to the rule", 0)
        await measure("known already", 0)
        await measure("", ASKED, times=KNOWN, told=False)
        await measure("new, with the Pod's bound of names reached", ASKED + KNOWN)


if __name__ == "__main__":
    assert sys.argv[1:] in ([], ["FQDN"]), sys.argv
    assert Address("203.0.113.53") == SERVERS["IPv4"]
    asyncio.run(main())
