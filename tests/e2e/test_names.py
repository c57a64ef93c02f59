"""Rules about names while node-ovs is away, comes back, or has too much to do."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluice.contracts.ids import Address, NodeName
from sluice.drivers import namespaces
from sluice.lab.checks import Question, Resolve
from sluice.lab.lab import Lab
from sluice.lab.nameserver import SERVERS
from sluice.lab.records import answered
from sluice.lab.scenario import DnsRecord
from sluice.lab.trains import ask_again
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

NODE = NodeName("node-1")
OUTSIDE = {
    name: Address(f"192.0.2.{number}") for number, name in enumerate(("lasting", "brief", "later", "inside"), start=1)
}
SERVER = SERVERS["IPv4"]
CLUSTER = """\
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: x, labels: {app: client}}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.64.0.9}]}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: x, labels: {app: dns}}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.64.0.10}]}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: x}
spec:
  clusterIP: 10.96.0.10
  selector: {app: dns}
  ports: [{port: 53, targetPort: 5353, protocol: UDP}]
---
apiVersion: crd.antrea.io/v1beta1
kind: NetworkPolicy
metadata: {name: web, namespace: x}
spec:
  priority: 1
  appliedTo: [{podSelector: {matchLabels: {app: client}}}]
  egress:
    - {action: Allow, to: [{ipBlock: {cidr: 203.0.113.53/32}}, {podSelector: {matchLabels: {app: dns}}}]}
    - {action: Allow, to: [{fqdn: "*.foobar.com"}]}
    - {action: Drop}
"""
FLOOD = """\
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
sock.connect((sys.argv[1], 53))
question = bytes.fromhex("0001010000010000000000000474657374") + b"\\x06foobar\\x03com\\0\\0\\1\\0\\1"
for number in range(4000):
    sock.send(number.to_bytes(2, "big") + question[2:])
    if not number % 20:
        time.sleep(0.001)
"""


def question(name: str, *, asks: bool, server: Address = SERVER) -> Question:
    """To the host of this name; by its address alone, or asking DNS first."""
    return Question(
        kind="probe",
        from_="x/client",
        to=f"fqdn:{name}.foobar.com",
        what="TCP 80",
        expect="Allowed",
        protocol="TCP",
        source=Address("10.64.0.9"),
        address=OUTSIDE[name],
        port=80,
        resolve=Resolve(name=f"{name}.foobar.com", server=server, by="UDP") if asks else None,
    )


def dropped(lab: Lab) -> Counter[str]:
    """What node-ovs has said so far of answers that it dropped, by reason."""
    found = Counter[str]()
    for line in (lab.nodes[NODE].folder / "node-ovs.log").read_text().splitlines():
        if '"dns_answers_dropped"' in line:
            found.update({reason: number for reason, number in json.loads(line).items() if isinstance(number, int)})
    return found


async def until(true: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110  # files and logs tell nobody
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"after a minute not yet: {what}")


@contextmanager
def serving(netns: Path, name: str, address: Address) -> Iterator[None]:
    """A Pod serves DNS on port 5353, with this one record."""

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(("", 5353))
        return sock

    def take() -> None:
        asked, sender = sock.recvfrom(4096)
        if octets := answered({name: {"ips": [address], "cname": "", "ttl": 3600}}, asked, udp=True):
            sock.sendto(octets, sender)

    sock, loop = namespaces.inside(netns, listen), asyncio.get_running_loop()
    loop.add_reader(sock, take)
    try:
        yield
    finally:
        loop.remove_reader(sock)
        sock.close()


def known(state: Path) -> str:
    path = state / "names.json"
    return path.read_text() if path.exists() else ""


@pytest.mark.timeout(300)
async def test_names_outlive_the_programmer_and_answers_do_not_pass_without_it() -> None:
    async with await Lab.start(nodes=[NODE]) as lab:
        node = lab.nodes[NODE]

        async def asked(name: str, *, asks: bool) -> str:
            return (await ask_again(lab, [question(name, asks=asks)]))[0].result

        await lab.use([NODE], OUTSIDE, serves_names=True)
        ttls = {"lasting": 3600, "brief": 8, "later": 3600}
        await lab.say_names(
            {f"{name}.foobar.com": DnsRecord(ips=(OUTSIDE[name],), ttl=ttl) for name, ttl in ttls.items()}
        )
        await lab.change(apply=read(CLUSTER))
        await lab.realised()
        assert await asked("lasting", asks=False) == "Dropped"
        assert [await asked(name, asks=True) for name in ("lasting", "brief")] == ["Allowed", "Allowed"]
        ended = time.monotonic() + ttls["brief"] + 0.5
        await until(lambda: OUTSIDE["brief"] in known(node.state_folder), "both names are in the file")

        # A server behind a Service: its answers have the address and the port that were asked.
        with serving(lab.sandboxes()["x/dns"].netns, "inside.foobar.com", OUTSIDE["inside"]):
            assert await asked("inside", asks=False) == "Dropped"
            (told,) = await ask_again(lab, [question("inside", asks=True, server=Address("10.96.0.10"))])
            assert told.result == "Allowed", told

        # Nobody takes what the switch holds: no answer passes, and what is known stays in force.
        pid = node.programmer.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            (unanswered,) = await lab.ask([question("later", asks=True)])
            assert (unanswered.result, "does not answer" in unanswered.detail) == ("Error", True)
            assert await asked("lasting", asks=False) == "Allowed"
        finally:
            os.kill(pid, signal.SIGKILL)

        # Another one comes: what was told is in force for the rest of its life, and for no longer.
        await asyncio.sleep(max(0.0, ended - time.monotonic()))
        await until(lambda: node.programmer.pid not in (None, pid), "node-ovs runs again")
        async with asyncio.timeout(60):  # while nobody is there nothing ends
            while await asked("brief", asks=False) != "Dropped":
                pass
        assert await asked("lasting", asks=False) == "Allowed"
        assert await asked("later", asks=False) == "Dropped"
        await until(lambda: dropped(lab)["unattended"] >= 1, "what came meanwhile is counted")

        # More than the meter lets through: dropped and counted, and DNS works again right after.
        await asyncio.to_thread(
            namespaces.inside,
            lab.sandboxes()["x/client"].netns,
            lambda: subprocess.run(["python3", "-c", FLOOD, SERVER], check=True, timeout=60),
        )
        await until(lambda: dropped(lab)["over_rate"] >= 1, "what exceeds the rate is counted")
        assert await asked("later", asks=True) == "Allowed"
