"""What rules count is what was sent, to the packet: over a policy that changes, and a programmer that is killed."""

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import NamedTuple

import pytest
from nats.aio.msg import Msg

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.stats import NodeStats
from sluice.drivers import namespaces
from sluice.lab.lab import Lab
from sluice.testkit.manifests import read

pytestmark = pytest.mark.datapath

NODE = NodeName("node-1")
PODS = {"a": ("10.10.7.1", "fd00:10:7::1"), "b": ("10.10.7.2", "fd00:10:7::2")}
LET_IN, DROPPED, REJECTED, ISOLATED = 8001, 8002, 8003, 8004
"""Ports of b, by what policy does; nobody but this test serves there."""

AT_ONCE, PAUSE_S = 40, 0.05
"""Packets in a row: more might be lost on a loaded machine before they come to the switch."""

HEADERS = {4: 14 + 20 + 8, 6: 14 + 40 + 8}
"""Bytes of a frame around what UDP carries."""

COUNTED_S = 60.0
"""In which all has to be told. It is read twice a second here."""

LOST = 2
"""So many packets may have been lost before the switch counted them, if they are not in three tries."""


def pods() -> str:
    return "---\n".join(
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{app: {name}}}}}\n"
        f"spec: {{containers: [{{name: main, image: any}}]}}\nstatus: {{podIPs: [{{ip: {old}}}, {{ip: '{new}'}}]}}\n"
        for name, (old, new) in PODS.items()
    )


def policies(*, priority: int, more: str = "") -> str:
    """A rule of each kind about what b gets, and one about what a sends."""
    return f"""
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {{name: counted}}
spec:
  priority: {priority}
  appliedTo: [{{podSelector: {{matchLabels: {{app: b}}}}, namespaceSelector: {{}}}}]
  ingress:
    - action: Allow
      ports: [{{protocol: UDP, port: {LET_IN}}}{more}]
      from: [{{podSelector: {{}}, namespaceSelector: {{}}}}]
    - {{action: Drop, ports: [{{protocol: UDP, port: {DROPPED}}}]}}
    - {{action: Reject, ports: [{{protocol: UDP, port: {REJECTED}}}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: closed, namespace: x}}
spec: {{podSelector: {{matchLabels: {{app: b}}}}, policyTypes: [Ingress]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: sends, namespace: x}}
spec: {{podSelector: {{matchLabels: {{app: a}}}}, policyTypes: [Egress], egress: [{{}}]}}
"""


class Counted(NamedTuple):
    sessions: int
    packets: int
    bytes: int


Rule = tuple[str, str, int | None]
"""Policy, direction, index."""

BY_PORT: dict[int, list[Rule]] = {
    LET_IN: [("counted", "ingress", 0), ("sends", "egress", 0)],
    DROPPED: [("counted", "ingress", 1)],
    REJECTED: [("counted", "ingress", 2)],
    ISOLATED: [("closed", "ingress", None)],
}
"""Who counts what is sent there: who let it through on both ends, or who denied it."""


class Traffic:
    """Sends, and knows what must have been counted."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.expected: dict[Rule, Counted] = {}

    def plugged(self, pod: str, version: int) -> socket.socket:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        path = self._lab.sandboxes()[f"x/{pod}"].netns
        return namespaces.inside(path, lambda: socket.socket(family, socket.SOCK_DGRAM))

    @contextmanager
    def connection(self, version: int, port: int) -> Iterator[socket.socket]:
        with closing(self.plugged("a", version)) as made:
            self.send(made, version, port, 1, begins=True)
            yield made

    def send(
        self, out: socket.socket, version: int, port: int, count: int, *, begins: bool = False, denied: bool = False
    ) -> None:
        """Send to b, and know who counts it: by its port, or because it is denied now, the policy that isolates."""
        to, payload = PODS["b"][version == 6], b"counted!"
        for number in range(count):
            while True:
                with suppress(OSError):  # that one before was rejected
                    out.sendto(payload, (to, port))
                    break
            if number % AT_ONCE == AT_ONCE - 1:
                time.sleep(PAUSE_S)
        time.sleep(PAUSE_S)
        for rule in BY_PORT[ISOLATED if denied else port]:
            old = self.expected.get(rule, Counted(0, 0, 0))
            sessions = int(begins) if port == LET_IN and not denied else count
            size = HEADERS[version] + len(payload)
            self.expected[rule] = Counted(old.sessions + sessions, old.packets + count, old.bytes + count * size)


class Told:
    """The last that the bus said of each rule: one that is gone is told once more, and then no longer."""

    def __init__(self) -> None:
        self.rules: dict[Rule, Counted] = {}
        self._news = asyncio.Event()

    async def take(self, message: Msg) -> None:
        for one in codec.decode(message.data, NodeStats).rules:
            rule = subjects.unit_parts(one.unit)[2], str(one.direction), one.rule
            self.rules[rule] = Counted(one.sessions, one.packets, one.bytes)
        self._news.set()

    async def becomes(self, expected: Mapping[Rule, Counted]) -> bool:
        """Exactly this is told, in the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COUNTED_S):
                while self.rules != expected:
                    self._news.clear()
                    await self._news.wait()
        return self.rules == expected

    def short_of(self, expected: Mapping[Rule, Counted]) -> int:
        """How many packets are missing, where none are too many."""
        none = Counted(0, 0, 0)
        short = [expected[rule].packets - self.rules.get(rule, none).packets for rule in expected]
        assert min(short) >= 0, (self.rules, expected)
        return sum(short)


class Story:
    """What happens while packets are sent; each part can be told again."""

    def __init__(self, lab: Lab, traffic: Traffic, lasting: Mapping[int, socket.socket]) -> None:
        self._lab, self._traffic, self._lasting = lab, traffic, lasting
        self._priority = 5
        self._ended = False
        """The lasting connections have been, so what comes next begins them anew."""

    async def send(self) -> None:
        await asyncio.to_thread(self._send, 30)

    def _send(self, count: int) -> None:
        for version, client in self._lasting.items():
            self._traffic.send(client, version, LET_IN, 1, begins=self._ended)
            self._traffic.send(client, version, LET_IN, count)
            for port in BY_PORT:
                with self._traffic.connection(version, port) as out:
                    self._traffic.send(out, version, port, count)
        self._ended = False

    async def edit(self) -> None:
        """At once, while the datapath has not told of the packets: every rule moves, and one is written anew."""
        await self.send()
        self._priority += 1
        more = f", {{protocol: UDP, port: {LET_IN + 50 + self._priority}}}"
        await self._lab.change(apply=read(policies(priority=self._priority, more=more)))
        await self._lab.realised()
        await self.send()

    async def kill(self) -> None:
        """Nobody watches the switch for a while."""
        await self.send()
        (node,) = self._lab.nodes.values()
        node.programmer.kill()
        await self.send()
        await self._lab.realised()
        await self.send()

    async def remove(self) -> None:
        """Rules go before anybody reads what they counted last."""
        await self._lab.change(apply=read(policies(priority=self._priority)))
        await self._lab.realised()
        await self.send()
        await self._lab.change(delete=[key for key in self._lab.world.bodies if key.name == "counted"])
        await self._lab.realised()
        for version, client in self._lasting.items():  # as the setting says, they have been ended with that
            await asyncio.to_thread(self._traffic.send, client, version, LET_IN, 30, denied=True)
        self._ended = True


async def test_counters_are_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_NODE_OVS_STATS_INTERVAL_S", "0.5")
    monkeypatch.setenv("SLUICE_NODE_OVS_END_DENIED", "true")
    async with await Lab.start() as lab:
        told = Told()
        await lab.bus.nc.subscribe(subjects.stats(NODE, "ovs"), cb=told.take)
        await lab.change(apply=read(pods() + "---\n" + policies(priority=5)))
        await lab.realised()
        traffic = Traffic(lab)
        with ExitStack() as opened:
            lasting = {}
            for version in (4, 6):
                server = opened.enter_context(closing(traffic.plugged("b", version)))
                if version == 6:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.bind(("", LET_IN))  # else b answers by ICMP, which is counted as well
                lasting[version] = opened.enter_context(traffic.connection(version, LET_IN))
            story = Story(lab, traffic, lasting)
            for part in (story.send, story.edit, story.kill, story.remove):
                for last in (False, False, True):
                    await part()
                    if await told.becomes(traffic.expected):
                        break
                    assert not last, (part.__doc__, told.rules, traffic.expected)
                    assert told.short_of(traffic.expected) <= LOST, part.__doc__
                    traffic.expected = dict(told.rules)
