"""Clients of all kinds, as tenants of a lab: what the table says, near and far, by a Service, over IPv4 and IPv6.

`tests/l7` is about rule sets by themselves; here everything that stands between a policy and a packet does.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
from base64 import b64decode
from collections.abc import AsyncIterator
from functools import partial
from itertools import count, cycle
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Self

import pytest
import pytest_asyncio
from tests.l7.rig import FIRST_SOURCE, PATIENCE_S, Hand, connected
from tests.l7.server import ECHO_PORT, HTTP_PORT, TLS_PORT, Server
from tests.l7.table import BAD, CASES, HTTP, OK, TLS, Case, ask, denied, played

from sluice.contracts.ids import NodeName
from sluice.dataplane.ovs.conntrack import CT_ZONE
from sluice.drivers import namespaces
from sluice.drivers.conntrack.tracker import Tracker
from sluice.kube.manifest import Document
from sluice.lab.ends import SERVICE_END, ends_of
from sluice.lab.inspection import LOGS
from sluice.lab.lab import Lab
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.once, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SCENERY = """\
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDRs: [10.81.0.0/24, "fd00:81::/64"]}
status: {addresses: [{type: InternalIP, address: 172.30.0.1}, {type: InternalIP, address: "fd00:30::1"}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
spec: {podCIDRs: [10.82.0.0/24, "fd00:82::/64"]}
status: {addresses: [{type: InternalIP, address: 172.30.0.2}, {type: InternalIP, address: "fd00:30::2"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: x, labels: {app: web}}
spec: {nodeName: node-1}
---
apiVersion: v1
kind: Pod
metadata: {name: near, namespace: x}
spec: {nodeName: node-1}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: x}
spec: {nodeName: node-2}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec:
  selector: {app: web}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: a, port: 80}, {name: b, port: 443}, {name: c, port: 22}, {name: d, port: 9000}, {name: e, port: 7777}]
"""


def policy(entries: list[dict[str, Any]], *, logs: bool = False, name: str = "p", app: str = "web") -> list[Document]:
    rule = {"name": "web", "action": "Allow", "l7Protocols": entries, "enableLogging": logs}
    made = {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "x"},
        "spec": {
            "priority": 5,
            "appliedTo": [{"podSelector": {"matchLabels": {"app": app}}}],
            "ingress": [rule],
        },
    }
    return read(json.dumps(made))


ENTRIES = [
    *({"http": {k: v for k, v in (("path", e.path), ("host", e.host), ("method", e.method)) if v}} for e in HTTP),
    *({"tls": {"sni": entry.sni}} for entry in TLS),
]


class Way(NamedTuple):
    client: str
    by_service: bool
    family: int

    def __str__(self) -> str:
        return f"{self.client}-{'service' if self.by_service else 'pod'}-IPv{self.family}"


WAYS = [Way(client, by, family) for client in ("near", "far") for by in (False, True) for family in (4, 6)]


class Stage:
    """The lab, and the server in its Pod; a client's place is `on`."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.server = Server(folder)
        self._sources = count(FIRST_SOURCE)
        self._service = ends_of(lab.world)[f"{SERVICE_END}x/web"].addresses

    def serve(self) -> None:
        self.inside("web", self.server.serve)

    def inside(self, pod: str, function: Any) -> Any:
        return namespaces.inside(self.lab.sandboxes()[f"x/{pod}"].netns, function)

    def address(self, way: Way) -> str:
        known = self._service if way.by_service else self.lab.sandboxes()["x/web"].pod.addresses
        return next(str(one) for one in known if (":" in one) == (way.family == 6))

    def on(self, way: Way) -> "Client":
        return Client(self, way)

    def connect(self, way: Way, port: int, patience_s: float = PATIENCE_S) -> socket.socket:
        source, address = next(self._sources), self.address(way)
        made: socket.socket = self.inside(way.client, lambda: connected(address, port, source, patience_s))
        return made

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the event log of the server's node says."""
        files = (self.lab.nodes[self.lab.sandboxes()["x/web"].pod.node].folder / LOGS).glob("eve-*.json")
        found = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
        return [one for one in found if one["event_type"] == kind]


class Client:
    """A place of the table."""

    def __init__(self, stage: Stage, way: Way) -> None:
        self._stage, self._way = stage, way

    def seen_from(self, source: int) -> list[bytes]:
        return self._stage.server.seen_from(source)

    def connect(self, port: int, family: int = 0) -> socket.socket:
        return self._stage.connect(self._way, port)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with await Lab.start(nodes=["node-1", "node-2"]) as lab:
        await lab.change(apply=[*read(SCENERY), *policy(ENTRIES)])
        await lab.realised()
        made = Stage(lab, tmp_path_factory.mktemp("l7lab"))
        await asyncio.to_thread(made.serve)
        yield made


HOLES = (
    "the second is denied",
    "the second of a segment is denied",
    "pipelined into a denial",
    "a byte a segment, denied",
    "a long body, then a denied one",
    "text, a byte a segment",
    "a server that speaks first",
    "an allowed path in the query",
    "HTTP/2 on an open connection",
)
"""Rows that are played on every way; the others on one, in turn."""

PLAYED = [
    *((case, way) for case, way in zip((one for one in CASES if one.name not in HOLES), cycle(WAYS), strict=False)),
    *((case, way) for case in CASES if case.name in HOLES for way in WAYS),
]


@pytest.mark.parametrize(("case", "way"), PLAYED, ids=[f"{one.name.replace(' ', '-')}-{way}" for one, way in PLAYED])
async def test_what_becomes_of_it(stage: Stage, case: Case, way: Way) -> None:
    served, reset, source = await asyncio.to_thread(played, stage.on(way), case, way.family)

    assert reset is case.reset
    if reset:  # the server hears of it too, whoever it is that goes on to talk
        assert await asyncio.to_thread(stage.server.was_reset, source, PATIENCE_S)
    if case.port == ECHO_PORT:
        assert b"hello" not in b"".join(stage.server.seen_from(source))
    elif case.pipelined:
        assert served <= case.served
    else:
        assert served == case.served


async def test_every_hole_is_a_row() -> None:
    assert set(HOLES) <= {case.name for case in CASES}
    assert len(PLAYED) >= len(CASES) + len(HOLES) * (len(WAYS) - 1)


LARGE = (500, 1 << 17)
"""Pieces of a ClientHello of 3 KB; the second: as the client's TCP parts it."""

HELLOS = [("foo.bar.com", True), ("FOO.Bar.com", True), ("evil.org", False), (None, False)]


SHAKEN = [
    *((way, step) for way in WAYS for step in (300, 1 << 16, *LARGE)),
    (Way("near", by_service=False, family=6), 1),
    (Way("far", by_service=True, family=4), 1),
]


@pytest.mark.parametrize(("way", "step"), SHAKEN, ids=[f"{way}-{step}" for way, step in SHAKEN])
async def test_a_handshake_is_judged_by_its_name(stage: Stage, step: int, way: Way) -> None:
    def shaken(sni: str | None) -> bool:
        with stage.connect(way, TLS_PORT) as sock:
            source = sock.getsockname()[1]
            try:
                return Hand(sock, sni, step, large=step in LARGE).ask(BAD).startswith(b"HTTP/1.1 200")
            except ConnectionError:
                assert stage.server.was_reset(source, PATIENCE_S)
                return False

    assert [await asyncio.to_thread(shaken, sni) for sni, _ in HELLOS] == [passes for _, passes in HELLOS]


LATE_PORT = 7777
"""Whoever serves there answers when the test says so."""

FORGOTTEN_S = 30.0
"""For what comes within milliseconds."""

FORGOTTEN = [Way("near", by_service=False, family=4), Way("far", by_service=True, family=6)]


@pytest.mark.parametrize("way", FORGOTTEN, ids=str)
async def test_an_answer_begins_no_connection_that_the_switch_forgot(stage: Stage, way: Way) -> None:
    """Else it would be the server's, and what its client asks from then on an answer that nobody looks into."""
    server = stage.lab.sandboxes()["x/web"].pod
    tracker = Tracker(stage.lab.nodes[server.node].ovs.vswitchd_control)
    listen = partial(socket.create_server, ("::", LATE_PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    with stage.inside("web", listen) as listener, await asyncio.to_thread(stage.connect, way, LATE_PORT) as client:
        listener.settimeout(FORGOTTEN_S)
        client.settimeout(FORGOTTEN_S)
        accepted, _ = await asyncio.to_thread(listener.accept)
        with accepted:
            accepted.settimeout(FORGOTTEN_S)
            client.sendall(OK)
            assert await asyncio.to_thread(accepted.recv, 1 << 16) == OK

            await tracker.flush(CT_ZONE, server.addresses)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

            for end in (client, accepted):
                with pytest.raises(ConnectionResetError):
                    await asyncio.to_thread(end.recv, 1 << 16)


@pytest.mark.parametrize("way", [one for one in WAYS if not one.by_service], ids=str)
async def test_quic_reaches_nobody(stage: Stage, way: Way) -> None:
    """HTTP/3 begins with a datagram to the port of TLS; no engine looks at it. Source: RFC 9000, section 17.2.2."""

    def opened() -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if way.family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0.3)
        return sock

    def asked() -> bool:
        with stage.inside("web", opened) as listener, stage.inside(way.client, opened) as client:
            listener.bind(("", TLS_PORT))
            for _ in range(2):
                client.sendto(b"\xc3\x00\x00\x00\x01" + b"\x00" * 1195, (stage.address(way), TLS_PORT))
            try:
                listener.recv(1 << 16)
            except TimeoutError:
                return False
            return True

    assert not await asyncio.to_thread(asked)


async def test_the_event_log_says_who_was_denied_and_keeps_the_request_if_asked(stage: Stage) -> None:
    way = Way("far", by_service=True, family=4)
    assert stage.events("packet") == []
    await stage.lab.change(apply=policy(ENTRIES, logs=True))
    await stage.lab.realised()
    *_, source = await asyncio.to_thread(played, stage.on(way), denied("", ask(OK), ask(BAD), served=1), 4)

    def told(kind: str) -> list[dict[str, Any]]:
        return [event for event in stage.events(kind) if event["src_port"] == source]

    async with asyncio.timeout(60):
        while not all(map(told, ("packet", "alert", "http"))):  # noqa: ASYNC110  # files have no events
            await asyncio.sleep(0.05)
    (packet,), (alert,) = stage.events("packet"), told("alert")

    assert alert["alert"]["signature"] == "Reject by AntreaNetworkPolicy:x/p"
    assert (alert["in_iface"], alert["alert"]["action"]) == ("antrea-l7-tap0", "blocked")
    assert [alert["alert"][one] for one in ("gid", "signature_id", "rev")] == [1, 1, 0]
    assert alert["src_ip"] in stage.lab.sandboxes()["x/far"].pod.addresses
    assert alert["dest_ip"] in stage.lab.sandboxes()["x/web"].pod.addresses
    assert b64decode(packet["packet"]).endswith(BAD)
    assert any(event["http"]["url"] == "/public/x" for event in told("http"))


class Load:
    """Clients that ask for what is allowed and for what is denied, all the time, each on a connection of its own."""

    def __init__(self, stage: Stage, ways: list[Way]) -> None:
        self._stage, self._ways = stage, ways
        self._ended = threading.Event()
        self.answered: dict[Way, list[float]] = {way: [] for way in ways}
        """When a request that is allowed was."""

        self.denied = 0
        self.leaked: list[bytes] = []

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._run, args=(way,), daemon=True) for way in self._ways]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, way: Way) -> None:
        while not self._ended.is_set():
            if self._answer(way, OK):
                self.answered[way].append(monotonic())
            if answer := self._answer(way, BAD):
                self.leaked.append(answer)
            self.denied += 1

    def _answer(self, way: Way, request: bytes) -> bytes:
        with contextlib.suppress(OSError), self._stage.connect(way, HTTP_PORT, patience_s=0.3) as sock:
            sock.sendall(request)
            return sock.recv(1 << 16)
        return b""

    async def all_answered_after(self, when: float, timeout_s: float = 120) -> float:
        """Seconds until allowed requests of everybody were answered again."""
        async with asyncio.timeout(timeout_s):
            while not all(times and times[-1] > when for times in self.answered.values()):  # noqa: ASYNC110  # threads
                await asyncio.sleep(0.01)
        return max(next(at for at in times if at > when) for times in self.answered.values()) - when


def engine_pid(stage: Stage) -> int:
    wanted = os.fsencode(stage.lab.nodes[NodeName("node-1")].folder / "l7" / "suricata.yaml")
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                return int(entry.name)
    raise AssertionError("no engine runs")


LOADED = [Way("near", by_service=False, family=4), Way("far", by_service=True, family=6)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_engine_that_goes_lets_nothing_through(stage: Stage, how: signal.Signals) -> None:
    seen = len(stage.server.seen)
    with Load(stage, LOADED) as load:
        await load.all_answered_after(monotonic())
        os.kill(engine_pid(stage), how)
        away = monotonic()
        await load.all_answered_after(away + 2.5)  # whatever passed before it was noticed
        await load.all_answered_after(monotonic())

    assert load.denied
    assert load.leaked == []
    assert BAD.strip() not in stage.server.seen[seen:]


async def test_what_changes_lets_nothing_through(stage: Stage) -> None:
    """Tenants are reloaded, come and go, beside connections of all kinds."""
    seen = len(stage.server.seen)
    with Load(stage, LOADED) as load:
        await load.all_answered_after(monotonic())
        for number in range(4):
            await stage.lab.change(apply=policy([*ENTRIES, {"http": {"path": f"/number/{number}"}}]))
            await stage.lab.change(apply=policy([{"http": {"path": f"/{number}"}}], name=f"q{number}", app="nobody"))
            await stage.lab.realised()
        await load.all_answered_after(monotonic())

    assert load.denied
    assert load.leaked == []
    assert BAD.strip() not in stage.server.seen[seen:]
