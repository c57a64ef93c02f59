"""TrafficControls come, change and go at random while Pods do, on two nodes with real switches.

At every step a train of packets is counted where it is mirrored to, and connections that were opened at the beginning
live, one of them through a Service. In the middle every programmer is killed. In the end the switches hold exactly what
a programmer that knows nothing would give them.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import pytest

from sluice.contracts.ids import Address, NodeName
from sluice.contracts.kinds import Kind
from sluice.contracts.traffic_control import TrafficControl
from sluice.dataplane.ovs.text import write_all
from sluice.dataplane.ovs.traffic_ports import wish
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.roles import ROLE, TRAFFIC
from sluice.kube.manifest import Document, parse
from sluice.lab.capture.counting import Ends
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.ovs import BRIDGE
from sluice.lab.receiving import Forwarder, Receiver
from sluice.lab.scenario import External, Reported, Spec
from sluice.lab.trains import ask_and_count
from sluice.lab.world import Key
from sluice.services.node_ovs.shell import IDS_INTERVAL_S

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

STEPS = int(os.environ.get("SLUICE_TRAFFIC_STEPS", "24"))
"""`SLUICE_TRAFFIC_STEPS=200 ./task test tests/e2e/test_traffic_controls.py -s` takes some minutes."""

SEED = os.environ.get("SLUICE_TRAFFIC_SEED", "7")
NODES = ("node-1", "node-2")
COLLECTOR = Address("10.0.10.2")
PACKETS = 5

PODS = {
    "a": ("node-1", 1),
    "b": ("node-1", 2),
    "c": ("node-2", 3),
    "d": ("node-2", 4),
    "e": ("node-1", 5),
    "f": ("node-2", 6),
}
STAY = "abcd"
"""The others come and go."""

NAMES = ("t1", "t2", "t3", "t4", "t5")
LABELS = ("red", "blue", "green")
MIRRORS = tuple(f"{{vxlan: {{remoteIP: {COLLECTOR}, vni: {vni}}}}}" for vni in (1, 2))
WAYS = (("tap0", "tap1"), ("tap2", "tap3"))
LASTING = {"direct": ("a", "c", "10.10.4.3", 80), "by a service": ("a", "d", "10.96.4.1", 8000)}


class Written(NamedTuple):
    """A TrafficControl, as far as it matters who gets copies."""

    label: str
    direction: str
    mirror: int | None
    """The network that copies go to."""

    text: str


def address(pod: str) -> Address:
    return Address(f"10.10.4.{PODS[pod][1]}")


def pod(name: str, label: str) -> str:
    node, _ = PODS[name]
    ports = "[{containerPort: 80}, {containerPort: 53, protocol: UDP}]"
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: k\n"
        f"  labels: {{app: {name}, colour: {label}}}\n"
        f"spec: {{nodeName: {node}, containers: [{{name: main, image: any, ports: {ports}}}]}}\n"
        f"status: {{podIPs: [{{ip: {address(name)}}}]}}\n"
    )


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: k}
spec: {clusterIP: 10.96.4.1, selector: {app: d}, ports: [{port: 8000, targetPort: 80}]}
"""


def written(name: str, chance: random.Random) -> Written:
    label, direction = chance.choice(LABELS), chance.choice(("Ingress", "Egress", "Both"))
    created = chance.choice(("", ", creationTimestamp: '2024-01-01T00:00:00Z'"))
    head = (
        f"apiVersion: crd.antrea.io/v1alpha2\nkind: TrafficControl\nmetadata: {{name: {name}{created}}}\n"
        f"spec:\n  appliedTo: {{podSelector: {{matchLabels: {{colour: {label}}}}}}}\n  direction: {direction}\n"
    )
    if chance.random() < 0.5:
        number = chance.randrange(len(MIRRORS))
        return Written(label, direction, number + 1, f"{head}  action: Mirror\n  targetPort: {MIRRORS[number]}\n")
    target, back = chance.choice(WAYS)
    ports = f"  targetPort: {{ovsInternal: {{name: {target}}}}}\n  returnPort: {{ovsInternal: {{name: {back}}}}}\n"
    return Written(label, direction, None, f"{head}  action: Redirect\n{ports}")


def read(text: str) -> list[Document]:
    found = parse(text, "traffic.yaml")
    documents = [one for one in found if isinstance(one, Document)]
    assert len(documents) == len(found), found
    return documents


class Story:
    """What there is, and what follows from it by reading it one by one."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.controls: dict[str, Written] = {}
        self.colours: dict[str, str] = dict(zip(STAY, (LABELS[number % 3] for number in range(4)), strict=True))

    def begin(self) -> list[Document]:
        texts = [pod(name, label) for name, label in self.colours.items()]
        return read("---\n".join(["apiVersion: v1\nkind: Namespace\nmetadata: {name: k}\n", SERVICE, *texts]))

    def step(self) -> tuple[list[Document], list[Key]]:
        """What to put, and what to delete."""
        chance = self._chance
        turn = chance.random()
        if turn < 0.2:
            name = chance.choice(sorted(PODS.keys() - set(STAY)))
            if name in self.colours:
                del self.colours[name]
                return [], [Key(Kind.POD, "k", name)]
            self.colours[name] = chance.choice(LABELS)
            return read(pod(name, self.colours[name])), []
        if turn < 0.3:
            name = chance.choice(sorted(self.colours))
            self.colours[name] = chance.choice(LABELS)
            return read(pod(name, self.colours[name])), []
        name = chance.choice(NAMES)
        if name in self.controls and turn < 0.5:
            del self.controls[name]
            return [], [Key(Kind.TRAFFIC_CONTROL, "", name)]
        self.controls[name] = written(name, chance)
        return read(self.controls[name].text), []

    def copies(self, sender: str, receiver: str) -> Counter[int]:
        """How often a packet comes to each network: each node copies it once to each target."""
        found: Counter[int] = Counter()
        here, there = PODS[sender][0], PODS[receiver][0]
        sent = self._mirrors(sender, "Egress")
        received = self._mirrors(receiver, "Ingress")
        for targets in [sent | received] if here == there else [sent, received]:
            found.update(targets)
        return found

    def ports(self, node: str) -> set[str]:
        """Those that TrafficControls need there."""
        here = {label for name, label in self.colours.items() if PODS[name][0] == node}
        found = set()
        for one in self.controls.values():
            if one.label in here:
                (document,) = read(one.text)
                control = document.object
                assert isinstance(control, TrafficControl)
                both = control.spec.target_port, control.spec.return_port
                found |= {wish(port).name for port in both if port is not None}
        return found

    def competes(self) -> bool:
        """Of two redirects of one Pod in one direction one is second."""
        redirects = [one for one in self.controls.values() if one.mirror is None]
        return any(
            sum(one.label == label and one.direction in (direction, "Both") for one in redirects) > 1
            for label in self.colours.values()
            for direction in ("Ingress", "Egress")
        )

    def _mirrors(self, name: str, direction: str) -> set[int]:
        return {
            one.mirror
            for one in self.controls.values()
            if one.mirror is not None and one.label == self.colours[name] and one.direction in (direction, "Both")
        }


def question(sender: str, receiver: str, to: str = "", port: int = 53) -> Question:
    return Question(
        kind="probe",
        from_=f"k/{sender}",
        to=f"k/{receiver}",
        what=f"{port}",
        expect="Allowed",
        protocol="UDP" if port == 53 else "TCP",
        source=address(sender),
        address=Address(to) if to else address(receiver),
        port=port,
        packets=PACKETS if port == 53 else 1,
    )


async def held(lab: Lab, node: str) -> tuple[list[str], set[str]]:
    """The flows of the switch, and the ports that were made for TrafficControls."""
    ovs = lab.nodes[NodeName(node)].ovs
    switch, ovsdb = await Switch.connect(ovs.mgmt_socket()), await Ovsdb.connect(ovs.db_socket)
    try:
        monitor = await ovsdb.monitor("Bridge", "Port", "Interface")
        await anext(monitor)
        interfaces = monitor.view.interfaces(BRIDGE)
        return write_all(await switch.dump()).splitlines(), {
            one.name for one in interfaces if one.external_ids.get(ROLE) == TRAFFIC
        }
    finally:
        switch.close()
        ovsdb.close()


def kill_programmers(lab: Lab) -> None:
    for node in lab.nodes.values():
        if (pid := node.programmer.pid) is not None:
            os.kill(pid, signal.SIGKILL)


def expected(story: Story, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[Receiver, Ends]]:
    """Copies of the questions of these pairs, and of the answers."""
    for one, other in {*pairs, *((receiver, sender) for sender, receiver in pairs)}:
        times = sum((pair == (one, other)) + (pair == (other, one)) for pair in pairs)
        for vni in (1, 2):
            wanted = Receiver(
                on="external:collector",
                proto="vxlan",
                vni=vni,
                from_=f"k/{one}",
                to=f"k/{other}",
                protocol="UDP",
                packets=times * PACKETS * story.copies(one, other)[vni],
            )
            yield wanted, Ends(frozenset((address(one),)), frozenset((address(other),)))


async def look(lab: Lab, story: Story, chance: random.Random) -> list[str]:
    """What is not as it should be."""
    names = sorted(story.colours)
    pairs = [(sender, receiver) for sender, receiver in permutations(names, 2) if chance.random() < 0.15]
    questions = [question(*pair) for pair in pairs]
    asked = list(expected(story, pairs))
    results, counts = await ask_and_count(lab, questions, asked, {address(name): name for name in names})
    wrong = [
        f"{asked_.from_} to {asked_.to}: {got.result} {got.detail}"
        for asked_, got in zip(questions, results, strict=True)
        if got.result != "Allowed"
    ]
    wrong += [
        f"{count.wanted.from_} to {count.wanted.to}, {count.wanted.vni}: {count.expect()}, got {count.words()}; {seen}"
        for count, seen in counts
        if not count.ok
    ]
    for name, (sender, *_) in LASTING.items():
        if (lives := await lab.prober(f"k/{sender}").check(name)).result != "Allowed":
            wrong.append(f"connection {name}: {lives}")
    return wrong


async def reborn(lab: Lab, before: Mapping[NodeName, int | None]) -> None:
    """Other programmers run than before."""
    async with asyncio.timeout(60):
        while any(node.programmer.pid in (None, before[name]) for name, node in lab.nodes.items()):  # noqa: ASYNC110  # /proc tells nobody
            await asyncio.sleep(0.1)


async def ports_are(lab: Lab, wanted: Mapping[str, set[str]]) -> None:
    """Nodes have exactly these ports for TrafficControls; old ones go a moment after the flows that led to them."""
    for node, ports in wanted.items():
        async with asyncio.timeout(30):
            while (await held(lab, node))[1] != ports:  # noqa: ASYNC110  # no event is worth it
                await asyncio.sleep(0.1)


def told(story: Story) -> tuple[Reported, ...]:
    return (Reported(message="which was created earlier"),) if story.competes() else ()


@pytest.mark.timeout(3600)
async def test_random_traffic_controls_end_as_if_they_had_always_been() -> None:
    chance = random.Random(SEED)
    story = Story(chance)
    forwarders = tuple(Forwarder(from_=target, to=back) for target, back in WAYS)
    spec = Spec(nodes=NODES, externals=(External(name="collector", ip=COLLECTOR),), forwarders=forwarders)
    async with await Lab.start(nodes=NODES) as lab:
        await lab.use(NODES, spec.outside)
        await lab.equipment.use(spec)
        await lab.change(apply=story.begin())
        await lab.realised()
        for name, (sender, receiver, to, port) in LASTING.items():
            opening = question(sender, receiver, to, port)
            opened = [await lab.prober(f"k/{sender}").open(name, opening)]
            if opened[-1].result == "Dropped":  # the first packet to a node may be lost
                opened.append(await lab.prober(f"k/{sender}").open(name, opening))
            assert opened[-1].result == "Allowed", (name, opened)
        for number in range(STEPS):
            if number == STEPS // 2:
                kill_programmers(lab)
            apply, delete = story.step()
            await lab.change(apply=apply, delete=delete)
            await lab.realised(problems=told(story))
            await lab.equipment.at_work()
            assert await look(lab, story, chance) == [], (number, story.controls, story.colours)

        await ports_are(lab, {node: story.ports(node) for node in NODES})
        await asyncio.sleep(2 * IDS_INTERVAL_S)  # the numbers in flows are written down
        before = {node: await held(lab, node) for node in NODES}
        pids = {name: node.programmer.pid for name, node in lab.nodes.items()}
        kill_programmers(lab)
        await reborn(lab, pids)
        await lab.change(apply=read("apiVersion: v1\nkind: Namespace\nmetadata: {name: later}\n"))
        await lab.realised(problems=told(story))
        after = {node: await held(lab, node) for node in NODES}

        for node in NODES:
            assert set(after[node][0]) ^ set(before[node][0]) == set()
            assert after[node][1] == before[node][1]
        await lab.change(delete=[Key(Kind.TRAFFIC_CONTROL, "", name) for name in story.controls])
        await lab.realised()
        await ports_are(lab, {node: set() for node in NODES})
