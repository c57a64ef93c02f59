"""The shell: feeds the programmer, brings the switch to the programmer's state, and reports what is applied.

Whichever connection is lost, the others carry on and the switch keeps its flows. A switch that comes back is read and
brought up to date in one bundle: after its restart that is everything, after ours only the differences.
"""

import asyncio
import secrets
from pathlib import Path
from time import monotonic, time

import structlog

from sluice.contracts.ids import NEVER, NodeName, Revision
from sluice.contracts.status import NodeStatus
from sluice.dataplane.ovs.detour import TAGS
from sluice.dataplane.ovs.fqdn import NamesState
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.openflow.errors import BundleRefused, SwitchGone
from sluice.drivers.openflow.headers import NotEncodable
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.unixctl import CommandRefused, control_socket
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.runtime.reporting import Reporting
from sluice.runtime.rounds import Rounds
from sluice.runtime.telling import Telling
from sluice.services.node_ovs.answers import Answers
from sluice.services.node_ovs.audit import Audit
from sluice.services.node_ovs.away import Away
from sluice.services.node_ovs.checksums import Checksums
from sluice.services.node_ovs.connection import Connection
from sluice.services.node_ovs.counting import Counting
from sluice.services.node_ovs.ending import Ender
from sluice.services.node_ovs.errands import Errands
from sluice.services.node_ovs.explaining import Explaining
from sluice.services.node_ovs.handover import verified_of
from sluice.services.node_ovs.idsfile import IdsFile
from sluice.services.node_ovs.interfaces import Interfaces
from sluice.services.node_ovs.multicast import Multicast
from sluice.services.node_ovs.programmer import Programmer
from sluice.services.node_ovs.resolving import Resolving
from sluice.services.node_ovs.settings import NodeOvsSettings
from sluice.services.node_ovs.statefile import StateFile
from sluice.services.node_ovs.strangers import Strangers
from sluice.services.node_ovs.tagging import Tagging
from sluice.services.node_ovs.tracing import Tracing
from sluice.services.node_ovs.upkeep import Upkeep

log = structlog.get_logger()

REFUSED_RETRY_S = 1.0
"""Retry interval after a failed change: it will most likely fail again until something else changes."""

IDS_INTERVAL_S = 1.0
"""Interval between checks whether rule ids have to be saved."""


class Shell:
    def __init__(self, settings: NodeOvsSettings, bus: Bus) -> None:
        self._node = NodeName(settings.node_name)
        run_dir, state_dir, bridge = Path(settings.run_dir), Path(settings.state_dir), settings.bridge
        self._socket, self._hand_over = settings.management_socket, Path(settings.hand_over)
        self._rounds = Rounds(settings.resync_interval_s)
        wake = self._rounds.wake
        self._ids_file = IdsFile(state_dir / "rule-ids.json")
        self._ids = self._ids_file.load()
        first_tag = secrets.randbelow(TAGS) + 1
        self._programmer = Programmer(
            self._node, self._ids, settings.naming, tag=first_tag, end_denied=settings.end_denied
        )
        self._strangers = Strangers(state_dir)
        self._programmer.strangers = self._strangers.kept
        self._applied: Revision = NEVER
        self._reporting = Reporting(bus, self._node, "ovs", self._status)
        self._names_file = StateFile(state_dir / "names.json", NamesState)
        self._audit = Audit(settings.audit_folder, state_dir, settings.audit_limits)
        counts_file = state_dir / "rule-counts.json"
        counting = Counting(
            bus, self._node, counts_file, (self._ids, self._programmer.traffic), settings.stats_interval_s
        )
        ender = Ender(bridge, lambda: control_socket(run_dir), self._programmer)
        self._tracing = Tracing(bus, self._node, bridge, lambda: control_socket(run_dir), self._programmer)
        self._telling = Telling(bus, self._node, "ovs", Explaining(self._node, self._programmer))
        naming = self._programmer.naming
        naming.names.restore(self._names_file.load() or NamesState(), monotonic(), time())
        self._names_saved = naming.names.changes
        self._answers = Answers(naming, self._programmer.holder, wake, lambda: self.ready)
        self._resolving = Resolving(naming, settings.ahead_server, wake)
        errands = Errands(
            reject_rate=settings.reject_rate,
            packet_in_rate=settings.packet_in_rate,
            dns_rate=settings.dns_rate,
            answers=self._answers,
            state_folder=state_dir,
        )
        self._multicast = Multicast(bus, self._node, self._programmer.multicast, settings.igmp_query_interval_s, wake)
        self._multicast.take_part_in(errands, settings.igmp_rate)
        Tagging(self._change_tag).take_part_in(errands)
        self._feed = Feed(bus, self._programmer, resync_s=settings.resync_interval_s, told=wake)
        self.away = Away(settings, bus, self._feed, self._programmer, wake)
        self._upkeep = Upkeep(
            run_dir, self._programmer, counting=counting, errands=errands, multicast=self._multicast, ender=ender
        )
        self._connection = Connection(
            settings,
            self._programmer,
            self._upkeep,
            audit=self._audit,
            errands=errands,
            counting=counting,
            wake=wake,
            told=self._reporting.changed,
        )
        self._checksums = Checksums(run_dir, self._reporting.changed)
        self._interfaces = Interfaces(
            run_dir, bridge, self._programmer, self._checksums, settled=lambda: self._settled, wake=wake
        )

    @property
    def ready(self) -> bool:
        return self._programmer.in_sync and self._upkeep.done

    @property
    def _settled(self) -> bool:
        return self._upkeep.done and self._applied == self._programmer.upto

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, task in {
                "feed": self._feed.run(),
                "interfaces": self._interfaces.watch(),
                "traffic_ports": self._interfaces.keep_traffic_ports(),
                "engine": self._watch_engine(),
                "connection": self._connection.run(),
                "apply": self._apply(),
                "reporting": self._reporting.run(),
                "ids": self._keep_ids(),
                "names": self._keep_names(),
                "resolving": self._resolving.run(),
                "away": self.away.watch(),
                "audit": self._audit.run(self._socket),
                "tracing": self._tracing.run(),
                "telling": self._telling.run(),
                "multicast": self._multicast.run(),
                "checksums": self._checksums.run(),
            }.items():
                tasks.create_task(task, name=name)

    async def _watch_engine(self) -> None:
        async for verified in verified_of(self._hand_over):
            counts = {"rule_sets": len(verified.vlans), "deserted": len(verified.deserted)}
            log.info("inspection_changed", **counts, file=str(self._hand_over))
            self._programmer.verified_are(*verified)
            self._rounds.wake()

    def _change_tag(self) -> None:
        self._programmer.change_tag()
        self._rounds.wake()

    async def _apply(self) -> None:
        while True:
            if await self._rounds.next(self._programmer.next_deadline_s(monotonic())):
                self._upkeep.look_again()
            try:
                await self._advance()
            except (SwitchGone, RpcGone, OSError, CommandRefused) as error:  # the connection's own task reconnects
                self._upkeep.look_again(str(error))
                log.warning("apply_interrupted", error=str(error))
                self._rounds.wake_in(REFUSED_RETRY_S)
            except (BundleRefused, NotEncodable, Undecodable) as error:
                self._upkeep.look_again(str(error))
                log.error("bundle_refused", error=str(error), kept="the switch keeps its previous flows")
                self._rounds.wake_in(REFUSED_RETRY_S)
            self._reporting.changed()

    async def _advance(self) -> None:
        if self._programmer.in_sync:
            self._answers.read(monotonic())
        change = self._programmer.advance(monotonic())
        self._resolving.poke()
        self._feed.tell_interests()
        if change is not None:
            self._audit.ports_are(change.opened)
            await self._audit.attribute(change.attributions)
        self._strangers.before_change(self._programmer.strangers)
        await self._upkeep.advance(change)
        switch = self._upkeep.switch
        if self._upkeep.done and switch is not None:
            self._strangers.after_change(self._programmer.strangers)
            self._applied = self._programmer.upto
            self._answers.release(switch)
            self._multicast.look(switch)
        self._interfaces.look()

    async def _keep_ids(self) -> None:
        while True:
            await asyncio.sleep(IDS_INTERVAL_S)
            self._ids_file.save(self._ids)

    async def _keep_names(self) -> None:
        while True:
            await asyncio.sleep(IDS_INTERVAL_S)
            self._answers.report()
            naming = self._programmer.naming
            if naming.names.changes != self._names_saved:
                self._names_file.save(naming.state(monotonic(), time()))
                self._names_saved = naming.names.changes

    def _status(self) -> NodeStatus:
        programmer, upkeep = self._programmer, self._upkeep
        return NodeStatus(
            node=self._node,
            backend="ovs",
            applied=self._applied,
            healthy=upkeep.done and programmer.in_sync,
            detail=upkeep.detail or ("" if programmer.in_sync else "not in sync with the bus yet"),
            ports=tuple(port.pod for port in programmer.open_ports),
            waiting_ports=programmer.waiting_ports,
            port_errors=(*self._interfaces.errors, *self._checksums.errors),
            problems=programmer.problems,
            repairs=upkeep.repairs,
        )
