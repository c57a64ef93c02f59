"""A cluster on one machine: NATS, the services as processes, nodes with real switches, Pods that answer.

The lab is only a source of objects and a place to send packets; in between runs the same software as in production. The
lab restarts whatever it started if that ends, and sweeps everything when it ends itself.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import structlog

from sluice.contracts.ids import Address, NodeName
from sluice.contracts.status import DocumentProblem
from sluice.kube.manifest import Document
from sluice.lab import claim, hosting, inspection, sweep
from sluice.lab.checks import Question
from sluice.lab.ends import EXTERNAL_END, NODE_END
from sluice.lab.equipment import Equipment
from sluice.lab.folder import ManifestFolder
from sluice.lab.forwarders import Forwarders
from sluice.lab.keys import LabKeys
from sluice.lab.node import LabNode
from sluice.lab.outside import Outside
from sluice.lab.podhost import Sandbox
from sluice.lab.ports import free_port
from sluice.lab.probers import TRIES, TRY_S, Prober, Probers, Result, ask_each
from sluice.lab.processes import Program, Supervised
from sluice.lab.realised import Statuses, Wanted
from sluice.lab.running import Running
from sluice.lab.scenario import DnsRecord, Reported
from sluice.lab.underlay import Underlay, wirings
from sluice.lab.waiting import Waiting
from sluice.lab.world import Key, World
from sluice.runtime.bus import Bus
from sluice.runtime.follow import follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer

log = structlog.get_logger()

REALISED_S = 30.0
"""How long a change may take to be in force. It takes some ten milliseconds; starting everything, a few seconds."""

ENGINE_S = 60.0
"""Extra time while node-l7 and its engine start: a second or two, and much more on a loaded machine."""

STREAM_BYTES = 64 << 20
"""Per stream: a lab is small, and its disk may be small, too."""

CENTRAL = ("ingest", "group-resolver", "rule-compiler")
"""The services that run once per cluster."""


class Lab:
    def __init__(self, claimed: claim.Claim) -> None:
        self.name = claimed.name
        self.folder = claimed.folder
        self.nodes: dict[NodeName, LabNode] = {}
        self._claim = claimed
        self._variables = {sweep.MARK: self.name}
        self.running = Running(self.folder)
        self._waiting = Waiting(self.running)
        self._manifests = ManifestFolder(self.folder / "manifests")
        self._extra: dict[str, bytes] = {}
        self._probers = Probers(self.folder / "probers", self._variables)
        self._underlay = Underlay(claimed.name)
        self._outside = Outside(self.name, self._probers, self._underlay)
        self._forwarders = Forwarders(self.folder / "forwarders", self._variables)
        self.equipment = Equipment(self.name, self.nodes, self._outside.hosts, self._forwarders)
        self.keys: LabKeys | None = None
        self._nats: NatsServer | None = None
        self._bus: Bus | None = None
        self.world = self._new_world(())
        self.api_url = ""

    # ---------------------------------------------------------------------------------------------------- life

    @classmethod
    async def start(cls, name: str | None = None, nodes: Sequence[str] = ("node-1",), *, secure: bool = False) -> Self:
        """Start a lab with these nodes and no other objects.

        Args:
            secure: each service and node has an identity of its own on the bus, which is encrypted. Starting takes
                longer; packets are not affected.

        Raises:
            Taken, BadName: the name.
            OvsFailed, ServerFailed: a program is missing or does not start.
        """
        swept = await asyncio.to_thread(claim.sweep_stale)
        if swept:
            log.warning("stale_labs_swept", labs=swept)
        lab = cls(await asyncio.to_thread(claim.claim, name))
        try:
            await lab._start(nodes, secure=secure)
        except BaseException:
            await lab.stop()
            raise
        return lab

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self, nodes: Sequence[str], *, secure: bool) -> None:
        if secure:
            self.keys = LabKeys(self.folder / "keys")
            self.keys.settle(nodes)
        self._nats = nats = await NatsServer.start(
            self.folder / "nats",
            variables=self._variables,
            guarded=self.keys.configuration if self.keys else None,
        )
        self.running.supervise(Supervised("nats-server", nats.restart, nats.ended))
        await self._outside.start()
        ingest = {"FOLDER": str(self._manifests.path), "POLL_INTERVAL_MS": "20", "WRITABLE": "true"}
        for service in CENTRAL:
            await self._start_service(service, ingest if service == "ingest" else {})
        self._bus = await Bus.connect(
            nats.url, name=f"lab {self.name}", credentials=self.keys.operator if self.keys else None
        )
        self.running.spawn(self._waiting.follow(self._bus), "status")
        self.running.spawn(self._follow_programs(self._bus), "programs")
        await self.use(nodes)

    async def stop(self) -> list[str]:
        """End and sweep the lab; returns descriptions of what could not be removed."""
        await self._forwarders.stop()
        await self.running.let_go()
        for sandbox in self.sandboxes().values():
            await sandbox.prober.disconnect()
        await self._outside.stop()
        for node in self.nodes.values():
            if node.prober is not None:
                await node.prober.disconnect()
        if self._bus:
            await self._bus.close()
        await self._probers.stop()
        stuck = await asyncio.to_thread(self._claim.release)
        await self.running.ended()
        if self._nats:
            await self._nats.ended()
        return stuck

    async def _start_service(self, service: str, own: Mapping[str, str] = MappingProxyType({}), node: str = "") -> None:
        title = f"{service} on {node}" if node else service
        program = Program(
            [sys.executable, "-P", "-m", f"sluice.services.{service.replace('-', '_')}"],
            {**self._variables, **self._settings(service, own, node)},
            (self.nodes[NodeName(node)].folder if node else self.folder) / f"{service}.log",
        )
        await self.running.start(title, program)

    async def serve(self) -> None:
        """Start the lab's API on a free port (`api_url`); the nodes' logs go there."""
        port = free_port()
        own = {"PORT": str(port), "STORE_DIR": str(self.folder / "query-api"), "HOLDER": self.name}
        await self._start_service("query-api", own)
        self.api_url = f"http://127.0.0.1:{port}"
        for name, node in self.nodes.items():
            logs = {"NP_DIR": str(node.audit_log.parent), "L7_DIR": str(node.folder / inspection.LOGS)}
            places = {**logs, "STATE_DIR": str(node.state_folder / "log-collector")}
            await self._start_service("log-collector", {"NODE_NAME": name, **places}, name)

    def _settings(self, service: str, own: Mapping[str, str], node: str = "") -> dict[str, str]:
        """The service's environment; `node` is empty for a central one."""
        prefix = f"SLUICE_{service.replace('-', '_').upper()}_"
        common = {"NATS_URL": self.nats.url, "HEALTH_PORT": "-1", "STREAM_MAX_BYTES": str(STREAM_BYTES)}
        keys = self.keys.settings(service, node) if self.keys else {}
        return {prefix + field: value for field, value in {**common, **keys, **own}.items()}

    async def _follow_programs(self, bus: Bus) -> None:
        async for event in follow(bus, "PROGRAMS", [inspection.PROGRAMS, hosting.PROGRAMS]):
            match event:
                case Message(subject=subject, body=body) if body and "._mark." not in subject:
                    await (self._protect() if subject.startswith("programs.host.") else self._inspect())
                case _:
                    pass

    async def _protect(self) -> None:
        """Start node-host on each node of the world."""
        for name in self.world.nodes:
            node = self.nodes[name]
            if not node.is_guarded:
                self.running.supervise(await node.protect())
                self.running.programs[f"node-host on {name}"] = node.guard

    async def _inspect(self) -> None:
        """Start node-l7 on each node of the world."""
        for name in self.world.nodes:
            node = self.nodes[name]
            if not node.inspects:
                self.running.supervise(await node.inspect())
                self.running.programs[f"node-l7 on {name}"] = node.inspector

    @property
    def statuses(self) -> Statuses:
        """The latest statuses of the services."""
        return self._waiting.statuses

    @property
    def bus(self) -> Bus:
        assert self._bus is not None, "the lab was started"
        return self._bus

    @property
    def manifests(self) -> Path:
        """The folder that ingest watches."""
        return self._manifests.path

    @property
    def nats(self) -> NatsServer:
        assert self._nats is not None, "the lab was started"
        return self._nats

    # ------------------------------------------------------------------------------------------------- the cluster

    async def use(
        self,
        nodes: Sequence[str],
        externals: Mapping[str, Address] = MappingProxyType({}),
        *,
        serves_names: bool = False,
    ) -> None:
        """Start afresh with these nodes and outside hosts; other nodes of earlier scenarios stay idle.

        Raises:
            CannotAnswer: such a host cannot be created on this machine.
        """
        if self.keys and self.keys.settle(nodes):
            await self.nats.reconfigure()
        for name in map(NodeName, nodes):
            if name not in self.nodes:
                node = LabNode(
                    name,
                    self.name,
                    self.folder / "nodes" / name,
                    self._variables,
                    self._settings("node-ovs", self._naming(), name),
                    inspector=self._settings("node-l7", {}, name),
                    guard=self._settings("node-host", {}, name),
                )
                self.nodes[name] = node
                await node.start(self._underlay)
                node.prober = await self._probers.start(f"{NODE_END}{name}", node.netns, ())
                self.running.programs[f"node-ovs on {name}"] = node.programmer
                for supervised in node.supervised():
                    self.running.supervise(supervised)
        self.world = self._new_world(nodes, externals)
        await self._outside.use(externals, serves_names=serves_names)
        await self.sync()

    def _naming(self) -> dict[str, str]:
        """Settings for the nodes' DNS resolution. The minimum TTL is one second, to keep waits for expiry short."""
        return {"FQDN_AHEAD_SERVER": f"127.0.0.1:{self._outside.names_port}", "FQDN_MIN_TTL_S": "1"}

    async def say_names(self, records: Mapping[str, DnsRecord]) -> None:
        """Set these records in the lab's DNS servers; other names keep theirs.

        Raises:
            ProberGone
        """
        self.world.records |= records
        await self._outside.say_names(self.world.records)

    async def change(self, apply: Iterable[Document] = (), delete: Iterable[Key] = ()) -> None:
        """Delete some objects, then apply others; `realised` waits until that is in force.

        Raises:
            NotPlaceable: an object to delete does not exist, or one to apply cannot be in this lab.
        """
        for key in delete:
            self.world.remove(key)
        for document in apply:
            self.world.put(document)
        await self.sync()

    async def clear(self) -> None:
        """Delete all objects, and wait until that is in force.

        Raises:
            NotRealised
        """
        self.world = self._new_world(())
        self._extra = {}
        await self.sync()
        await self.realised()

    async def sync(self) -> None:
        """Make the folder and the Pods match the world."""
        if inspection.asked_for(self.world.objects.values()):
            await self._inspect()
        if hosting.asked_for(self.world.objects.values()):
            await self._protect()
        wanted = self.world.pods()
        for name, wiring in wirings(self.world).items():
            await self.nodes[name].rewire(wiring)
        await self._outside.reroute(self.world)
        for node in self.nodes.values():
            gone = [name for name, sandbox in node.sandboxes.items() if wanted.get(name) != sandbox.pod]
            if gone:
                await node.unplug(gone)
        self._manifests.hold(self.world.bodies, self._extra)
        running = self.sandboxes()
        for node in self.nodes.values():
            new = [pod for pod in wanted.values() if pod.node == node.name and pod.pod not in running]
            if new:
                await node.plug(new, self._probers)

    async def refused(self, file: str, content: bytes) -> list[DocumentProblem]:
        """The problems that ingest reports about this file. It is in the folder only while this waits.

        Raises:
            NotRealised: ingest did not answer in time.
        """
        self._extra = {file: content}
        self._manifests.hold(self.world.bodies, self._extra)
        digest = self._manifests.digest
        try:
            await self._waiting.until(
                lambda: [] if self._source_digest() == digest else ["ingest: it has not read the manifest"], REALISED_S
            )
            return [problem for problem in self.statuses.problems() if problem.file == file]
        finally:
            self._extra = {}
            self._manifests.hold(self.world.bodies, self._extra)

    def _source_digest(self) -> str:
        return self.statuses.source.digest if self.statuses.source else ""

    async def realised(self, timeout_s: float = REALISED_S, problems: tuple[Reported, ...] = ()) -> float:
        """Wait until all nodes have applied everything except for these problems; returns the seconds it took.

        Raises:
            NotRealised: they have not in time; says what is missing.
        """
        started = time.monotonic()
        ports: dict[NodeName, frozenset[str]] = {
            name: frozenset(sandbox.pod.pod for sandbox in node.sandboxes.values() if sandbox.host_end)
            for name, node in self.nodes.items()
        }
        inspected = frozenset(name for name, node in self.nodes.items() if node.inspects)
        wanted = Wanted(
            digest=self._manifests.digest,
            ports=ports,
            ignored=frozenset(self._extra),
            inspected=inspected,
            guarded=frozenset(name for name, node in self.nodes.items() if node.is_guarded),
            problems=problems,
        )
        if inspected - self.statuses.engines.keys():
            timeout_s += ENGINE_S
        await self._waiting.until(lambda: self.statuses.missing(wanted), timeout_s)
        return time.monotonic() - started

    # --------------------------------------------------------------------------------------------------- packets

    def sandboxes(self) -> dict[str, Sandbox]:
        """The running Pods, by namespace/name."""
        return {name: sandbox for node in self.nodes.values() for name, sandbox in node.sandboxes.items()}

    def prober(self, pod: str) -> Prober:
        """The prober of an end, named as in `ends`."""
        if pod.startswith(EXTERNAL_END):
            return self._outside.hosts[pod.removeprefix(EXTERNAL_END)].prober
        if pod.startswith(NODE_END):
            prober = self.nodes[NodeName(pod.removeprefix(NODE_END))].prober
            assert prober is not None, "the node was started"
            return prober
        return self.sandboxes()[pod].prober

    async def ask(self, questions: Sequence[Question], *, tries: int = TRIES, try_s: float = TRY_S) -> list[Result]:
        """Send all packets at once; returns what became of them, in order."""
        return await ask_each(self.prober, questions, tries=tries, try_s=try_s)

    @staticmethod
    def _new_world(nodes: Sequence[str], externals: Mapping[str, Address] = MappingProxyType({})) -> World:
        def now() -> str:
            return datetime.now(UTC).isoformat().replace("+00:00", "Z")

        return World(nodes, lambda: str(uuid.uuid4()), now, externals)
