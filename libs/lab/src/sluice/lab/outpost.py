"""Plays scheduler, kubelet and CNI for a node whose bus, switch and services are run by others (deploy/compose).

People put manifests into one folder. They are copied to the folder that ingest reads, with Pods placed and addressed as
in a lab and everything else unchanged. Each running Pod is a network namespace, plugged into the switch of the current
namespace.
"""

import asyncio
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from sluice.contracts import codec
from sluice.contracts.ids import NodeName
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.pods import UID
from sluice.kube.digest import is_manifest
from sluice.kube.manifest import Document, parse
from sluice.lab import state, sweep
from sluice.lab.claim import Claim
from sluice.lab.folder import ManifestFolder
from sluice.lab.ovs import BRIDGE
from sluice.lab.podhost import PodHost
from sluice.lab.probers import Probers
from sluice.lab.reading import problems
from sluice.lab.realised import Statuses, kind_of
from sluice.lab.state import LabState, NodeState, PodState
from sluice.lab.world import Key, NotPlaceable, World
from sluice.runtime.bus import Bus
from sluice.runtime.credentials import Credentials
from sluice.runtime.follow import NewEpoch, follow
from sluice.runtime.message import Message

log = structlog.get_logger()

OURS = Path("/proc/self/ns/net")
"""The switch's network namespace, which is our own. Source: namespaces(7)."""

DATABASE = Path("/run/openvswitch/db.sock")

LOOK_S = 0.5
"""Interval of checks of the folder."""

SWITCH_S = 60.0
"""Time for the switch to appear at the start."""

Files = dict[str, bytes]


class Placing:
    """The objects in the files, with what scheduler, kubelet and API server would have added."""

    def __init__(self, node: NodeName) -> None:
        self.world = World([node], lambda: str(uuid.uuid4()), _now)
        self.bad: Files = {}
        """Bad files, passed to ingest unchanged, which reports what is wrong with them."""

        self.unplaced: list[str] = []
        """Objects that cannot be on this node, and why."""

        self._documents: dict[str, list[Document]] = {}
        """The last good contents of each file."""

        self._put: dict[Key, Document] = {}

    def take(self, files: Files) -> None:
        """Update the world to these files; a bad file keeps its previous objects."""
        self.bad = {}
        for gone in self._documents.keys() - files.keys():
            del self._documents[gone]
        for name, content in files.items():
            found = parse(content, name)
            if problems(found):
                self.bad[f"_bad/{name}"] = content
            else:
                self._documents[name] = [each for each in found if isinstance(each, Document)]
        wanted: dict[Key, Document] = {}
        for name in sorted(self._documents):
            for document in self._documents[name]:
                wanted.setdefault(Key(document.kind, *document.object.key), document)
        self._change(wanted)

    def _change(self, wanted: dict[Key, Document]) -> None:
        for key in self._put.keys() - wanted.keys():
            if key in self.world.objects:  # it may have gone with its Namespace
                self.world.remove(key)
        self.unplaced = []
        for key, document in wanted.items():
            known = self._put.get(key)
            if known is not None and known.body == document.body and key in self.world.objects:
                continue
            try:
                self.world.put(document)
            except NotPlaceable as error:
                self.unplaced.append(str(error))
                log.warning("object_not_placed", file=document.file, line=document.line, reason=str(error))
        self._put = wanted


class Outpost:
    def __init__(self, claimed: Claim, node: NodeName, source: Path, objects: Path) -> None:
        self._claim, self._node, self._source = claimed, node, source
        self._folder = ManifestFolder(objects)
        self._host = PodHost(node, claimed.name, OURS, DATABASE)
        self._probers = Probers(claimed.folder / "probers", {sweep.MARK: claimed.name})
        self._placing = Placing(node)
        self._statuses = Statuses()

    async def run(self, nats_url: str, credentials: Credentials | None = None) -> None:
        """Keep Pods and objects in line with the folder until cancelled. Credentials: if the bus has identities."""
        await self._begin_anew()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_status(nats_url, credentials), name="status")
            seen: Files | None = None
            while True:
                files = await asyncio.to_thread(_files, self._source)
                if files != seen:
                    seen = files
                    self._placing.take(files)
                    await self._sync()
                state.write(self.portrait(nats_url, credentials))
                await asyncio.sleep(LOOK_S)

    async def stop(self) -> None:
        """Stop all Pods and release the name. Ports are left in the switch, which may have ended already."""
        await self._probers.stop()
        for sandbox in self._host.sandboxes.values():
            await sandbox.prober.disconnect()
        await asyncio.to_thread(self._claim.release)

    async def _begin_anew(self) -> None:
        """Wait for the switch and remove the Pod ports of an earlier run, whose peers are gone."""
        async with asyncio.timeout(SWITCH_S):
            ovsdb = await _database()
        try:
            (found,) = await ovsdb.transact(
                {"op": "select", "table": "Interface", "where": [], "columns": ["name", "external_ids"]}
            )
            await ovsdb.delete_ports(BRIDGE, [row["name"] for row in found["rows"] if _is_pods(row)])
        finally:
            ovsdb.close()

    async def _sync(self) -> None:
        """Make Pods, ports and ingest's folder match the world."""
        wanted = self._placing.world.pods()
        running = self._host.sandboxes
        await self._host.unplug([name for name, sandbox in running.items() if wanted.get(name) != sandbox.pod])
        self._folder.hold(self._placing.world.bodies, self._placing.bad)
        await self._host.plug([pod for name, pod in wanted.items() if name not in self._host.sandboxes], self._probers)
        log.info(
            "manifests_taken", pods=len(wanted), objects=len(self._placing.world.objects), bad=sorted(self._placing.bad)
        )

    async def _follow_status(self, nats_url: str, credentials: Credentials | None) -> None:
        bus = await Bus.connect(nats_url, name="lab node", credentials=credentials)
        try:
            async for event in follow(bus, "STATUS"):
                match event:
                    case NewEpoch():
                        self._statuses = Statuses()
                    case Message(subject=subject, body=body) if body and (kind := kind_of(subject)):
                        self._statuses.put(codec.decode(body, kind))
                    case _:
                        pass
        finally:
            await bus.close()

    def portrait(self, nats_url: str, credentials: Credentials | None) -> LabState:
        """The public state of this node."""
        status = self._statuses.nodes.get(self._node)
        told = [*self._placing.unplaced, *(problem.words() for problem in self._statuses.problems())]
        if status:
            told += [problem.words() for problem in status.problems]
        node = NodeState(
            node=self._node,
            netns="",
            ovs=str(DATABASE.parent),
            healthy=status.healthy if status else False,
            applied=status.applied.sequence if status else 0,
            problems=tuple(told),
        )
        return LabState(
            name=self._claim.name,
            pid=os.getpid(),
            folder=str(self._claim.folder),
            nats_url=nats_url,
            nats_keys=str(credentials.folder) if credentials else "",
            manifests=str(self._source),
            nodes=(node,),
            pods=tuple(
                PodState(
                    pod=name,
                    node=self._node,
                    netns=sandbox.netns.name,
                    addresses=sandbox.pod.addresses,
                    ports=sandbox.pod.ports,
                    open=bool(status and name in status.ports),
                    prober=str(sandbox.prober.socket),
                )
                for name, sandbox in sorted(self._host.sandboxes.items())
            ),
            restarts={},
        )


async def _database() -> Ovsdb:
    while True:
        try:
            return await Ovsdb.connect(DATABASE)
        except OSError:
            await asyncio.sleep(LOOK_S)


def _files(folder: Path) -> Files:
    """Every manifest in the folder, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if is_manifest(name) and path.is_file():
            found[name] = path.read_bytes()
    return found


def _is_pods(row: dict[str, Any]) -> bool:  # Any: raw JSON of the database
    return any(key == UID for key, _ in row["external_ids"][1])


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
