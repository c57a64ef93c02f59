"""A random walk over TrafficControls with real packets: every receiver counts what it should, and no connection dies.

Two nodes, five TrafficControls that come, change and go, Pods that do and whose labels change; in the middle the
programmer of one node is killed. After every step a train of packets goes from Pod to Pod; `traffic_oracle` says who
should have seen which of them how often. Connections between Pods that stay are asked at every step. In the end all
programmers are killed, and those that come after them, and know nothing but what is on the bus, change nothing; and
what nodes tell of packets is what receivers counted.
"""

import asyncio
import os
import random
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from tests.e2e.traffic_held import as_from_scratch, ports_are
from tests.e2e.traffic_oracle import COPIES_TO, GOES_BY, Control, Pod, losers, seen_at
from tests.e2e.traffic_told import Told, differs

from sluice.contracts import subjects
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.kinds import Kind
from sluice.contracts.traffic_control import TrafficControl
from sluice.dataplane.ovs.traffic_ports import wish
from sluice.kube.manifest import Document
from sluice.lab import trains
from sluice.lab.capture.counting import Ends
from sluice.lab.checks import Question
from sluice.lab.equipment import NOTHING
from sluice.lab.lab import Lab
from sluice.lab.leftovers import ids_left, leftovers
from sluice.lab.receiving import Forwarder, Receiver
from sluice.lab.scenario import External, Reported, Spec
from sluice.lab.world import Key
from sluice.testkit.manifests import read

STEPS = int(os.environ.get("SLUICE_TRAFFIC_STEPS", "12"))
"""`SLUICE_TRAFFIC_STEPS=200 ./task test tests/e2e/test_traffic_control.py` takes some four minutes."""

SEED = int(os.environ.get("SLUICE_TRAFFIC_SEED", "7"))
pytestmark = [pytest.mark.datapath, pytest.mark.slow, pytest.mark.timeout(120 + 10 * STEPS)]

TRAIN = 4
"""Packets from one Pod to another, in each step, and as many answers."""

PAIRS = 6
"""Of Pods, in each step."""

NAMES = ("tc-a", "tc-b", "tc-c", "tc-d", "tc-e")
APPS = ("web", "db", "other")
NODES = ("node-1", "node-2")
STAYING = 3
MOST_PODS = 7

SPEC = Spec(
    nodes=NODES,
    externals=(External(name="collector", ip="10.0.10.2"),),
    devices=("eno2", "eno4", "eno5"),
    forwarders=(Forwarder(from_="tap0", to="tap1"), Forwarder(from_="eno4", to="eno5")),
)

HEARD = {
    "vxlan": {"on": "collector", "proto": "vxlan", "vni": 7},
    "geneve": {"on": "collector", "proto": "geneve", "vni": 8, "destination_port": 6082},
    "gre": {"on": "collector", "proto": "gre", "key": 9},
    "erspan": {"on": "collector", "proto": "erspan", "version": 2, "session_id": 10, "dir": 1, "hardware_id": 11},
    "tap4": {"on": "port:tap4"},
    "eno2": {"on": "port:eno2"},
    "tap0": {"on": "port:tap0"},
    "eno4": {"on": "port:eno4"},
}
assert HEARD.keys() == COPIES_TO.keys() | GOES_BY.keys()


def manifest(pod: Pod) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod.name}, namespace: w, labels: {{app: {pod.app}}}}}\n"
        f"spec: {{nodeName: {pod.node}, containers: [{{name: c, image: c, ports: [{{containerPort: 80}}]}}]}}\n"
        f"status: {{podIPs: [{{ip: '{pod.address}'}}]}}\n"
    )


def question(source: Pod, target: Pod, packets: int = TRAIN) -> Question:
    return Question(
        kind="probe",
        from_=f"w/{source.name}",
        to=f"w/{target.name}",
        what="UDP 80",
        expect="Allowed",
        protocol="UDP",
        source=Address(source.address),
        address=Address(target.address),
        port=80,
        packets=packets,
    )


class Walk:
    """The world as it should be, and the lab as it is."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self._lab, self._chance = lab, chance
        self.controls: dict[str, Control] = {}
        self.pods: dict[str, Pod] = {}
        self._made = 0
        self.packets = 0

    def pod(self) -> Pod:
        self._made += 1
        number = self._made
        address = f"10.98.{number // 200}.{number % 200 + 2}" if number % 2 else f"fd98::{number:x}"
        made = Pod(f"p{number}", NODES[number // 2 % 2], self._chance.choice(APPS), address)
        self.pods[made.name] = made
        return made

    def staying(self) -> list[Pod]:
        return list(self.pods.values())[: 2 * STAYING]

    async def begin(self) -> None:
        await self._lab.use(NODES, SPEC.outside)
        await self._lab.equipment.use(SPEC)
        pods = [self.pod() for _ in range(2 * STAYING)]
        await self._lab.change(apply=read("---\n".join(manifest(pod) for pod in pods)))
        await self._lab.realised()
        for source, target in self._lasting():
            opened = await self._lab.prober(f"w/{source.name}").open(
                f"to {target.name}", self._lasts(source, target), tries=20
            )
            assert opened.result == "Allowed", (source, target)

    def _lasting(self) -> Iterator[tuple[Pod, Pod]]:
        """Pairs of Pods of one family that stay: on one node, and on two."""
        for family in (0, 1):
            pods = self.staying()[family::2]
            yield from ((one, other) for one in pods for other in pods if one != other)

    @staticmethod
    def _lasts(source: Pod, target: Pod) -> Question:
        return replace(question(source, target, 1), protocol="TCP")

    def step(self) -> tuple[str, list[Document], list[Key]]:
        """What happens next: in words, and what to apply and to delete."""
        chance = self._chance
        what = chance.choices(("control", "gone", "pod", "pod gone", "label"), (6, 2, 2, 1, 2))[0]
        leaving = list(self.pods.values())[2 * STAYING :]
        if what == "gone" and self.controls:
            name = chance.choice(sorted(self.controls))
            del self.controls[name]
            return f"{name} goes", [], [Key(Kind.TRAFFIC_CONTROL, "", name)]
        if what == "pod" and len(self.pods) < MOST_PODS + 2:
            made = self.pod()
            return f"{made} comes", read(manifest(made)), []
        if what == "pod gone" and leaving:
            gone = chance.choice(leaving)
            del self.pods[gone.name]
            return f"{gone} goes", [], [Key(Kind.POD, "w", gone.name)]
        if what == "label":
            changed = chance.choice(list(self.pods.values()))._replace(app=chance.choice(APPS))
            self.pods[changed.name] = changed
            return f"{changed} has another label", read(manifest(changed)), []
        made_control = Control(
            chance.choice(NAMES),
            chance.choice(("", *APPS)),
            chance.choice(("Ingress", "Egress", "Both")),
            chance.choice([*COPIES_TO, *GOES_BY, *GOES_BY]),
            chance.choice(("", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")),
        )
        self.controls[made_control.name] = made_control
        return f"{made_control}", read(made_control.text), []

    async def change(self, apply: list[Document], delete: list[Key]) -> None:
        await self._lab.change(apply=apply, delete=delete)
        await self._lab.realised(problems=self.told())
        await self._lab.equipment.at_work()

    def told(self) -> tuple[Reported, ...]:
        """What nodes say of TrafficControls that come second."""
        lost = losers(self.pods.values(), self.controls)
        second = {(node, name) for node, name, _ in lost}
        return tuple(Reported(on=node, message=f"{name}.*is redirected by") for node, name in sorted(second))

    def ports(self, node: str) -> set[str]:
        """Those that the node has for TrafficControls, by their names in the switch."""
        found = set()
        for control in self.controls.values():
            if any(pod.node == node and control.app in ("", pod.app) for pod in self.pods.values()):
                (document,) = read(control.text)
                assert isinstance(document.object, TrafficControl)
                spec = document.object.spec
                found |= {wish(port).name for port in (spec.target_port, spec.return_port) if port is not None}
        return found

    async def look(self, what: str) -> None:
        """Every receiver counts what it should, and connections live."""
        families: dict[bool, list[Pod]] = {}
        for pod in self.pods.values():
            families.setdefault(":" in pod.address, []).append(pod)
        every = [(one, other) for pods in families.values() for one in pods for other in pods if one != other]
        pairs = self._chance.sample(every, min(PAIRS, len(every)))
        wanted: list[tuple[Receiver, Ends]] = []
        for one, other in dict.fromkeys(each for pair in pairs for each in (pair, pair[::-1])):
            sent = TRAIN * (((one, other) in pairs) + ((other, one) in pairs))
            times = seen_at(one, other, self.controls.values())
            ends = Ends(frozenset({Address(one.address)}), frozenset({Address(other.address)}))
            wanted += [
                (Receiver(packets=sent * times[name], protocol="UDP", from_=one.name, to=other.name, **fields), ends)  # type: ignore[arg-type]  # a table
                for name, fields in HEARD.items()
            ]
        asked = [question(*pair) for pair in pairs]
        names = {Address(pod.address): pod.name for pod in self.pods.values()}
        results, counts = await trains.ask_and_count(self._lab, asked, wanted, names)
        self.packets += sum(count.got for count, _ in counts)
        context = f"{what}\n{self.controls}\n{self.pods}"
        assert [result.result for result in results] == ["Allowed"] * len(asked), context
        wrong = [
            f"{count.wanted.from_} -> {count.wanted.to} on {name}: {count.words()}, not {count.expect()}: {heard}"
            for (count, heard), name in zip(counts, list(HEARD) * len(counts), strict=False)
            if not count.ok
        ]
        assert wrong == [], "\n".join([context, *wrong])
        lasting = list(self._lasting())
        alive = await asyncio.gather(
            *(self._lab.prober(f"w/{one.name}").check(f"to {other.name}", tries=6) for one, other in lasting)
        )
        assert [pair for pair, result in zip(lasting, alive, strict=True) if result.result != "Allowed"] == [], context

    async def as_told(self) -> str:
        """Where what nodes tell is not what receivers count, of a mirror and two redirects."""
        told = Told()
        for node in NODES:
            await self._lab.bus.nc.subscribe(subjects.stats(NodeName(node), "ovs"), cb=told.take)
        held = [Key(Kind.TRAFFIC_CONTROL, "", name) for name in sorted(self.controls)]
        counted = (
            Control("copies", "", "Egress", "tap4"),
            Control("out", "", "Egress", "tap0"),
            Control("in", "", "Ingress", "eno4"),
        )
        self.controls = {control.name: control for control in counted}
        await self.change(read("---\n".join(control.text for control in counted)), held)
        one, other, *_ = (pod for pod in self.staying() if ":" not in pod.address)
        return await differs(
            self._lab,
            told,
            [question(one, other, 25)],
            {
                ("copies", "mirrored"): Receiver(on="port:tap4"),
                ("out", "redirected"): Receiver(on="port:tap0"),
                ("in", "redirected"): Receiver(on="port:eno4"),
            },
        )


@pytest.mark.timeout(3600)  # 200 steps take some minutes
async def test_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_NODE_OVS_STATS_INTERVAL_S", "0.5")
    chance = random.Random(SEED)
    async with await Lab.start(nodes=NODES) as lab:
        walk = Walk(lab, chance)
        await walk.begin()
        for number in range(STEPS):
            what, apply, delete = walk.step()
            if number == STEPS // 2:
                lab.nodes[NodeName(NODES[number % 2])].programmer.kill()
                what += " while a programmer is dead"
            await walk.change(apply, delete)
            await walk.look(f"step {number}: {what}")
        assert walk.packets
        await ports_are(lab, {node: walk.ports(node) for node in NODES})
        assert await as_from_scratch(lab, walk.told()) == []
        assert await walk.as_told() == ""
        await lab.clear()
        await lab.equipment.use(NOTHING)
        assert await leftovers(lab) == []
        assert await ids_left(lab) == []
