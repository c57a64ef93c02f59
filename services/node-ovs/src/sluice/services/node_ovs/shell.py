"""The shell: holds the three connections (bus, OVSDB, switch), feeds the programmer, and sends what it says.

Whichever connection is lost, the others go on and the switch keeps what it holds. A switch that comes back is read and
brought to what the programmer says in one bundle: after its restart that is everything, after ours only what differs.
"""

import asyncio
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, time

import structlog

from sluice.contracts import subjects
from sluice.contracts.ids import NEVER, NodeName, Revision
from sluice.contracts.status import NodeStatus
from sluice.dataplane.ovs.conntrack import CT_ZONE, REDIRECT_ZONE
from sluice.dataplane.ovs.detour import TAGS
from sluice.dataplane.ovs.flow import Buckets, FlowKey, Flows
from sluice.dataplane.ovs.fqdn import NamesState
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.plan import plan
from sluice.dataplane.ovs.ports import LocalPort, port_flows
from sluice.dataplane.ovs.traffic_ports import Found
from sluice.drivers.conntrack.tracker import Tracker
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.openflow.errors import BundleRefused, RequestRefused, SwitchGone
from sluice.drivers.openflow.flow_mod import Stranger
from sluice.drivers.openflow.headers import NotEncodable
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.switch import Switch, UnreadableFlows
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.rows import Interface
from sluice.drivers.unixctl import CommandRefused, command
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.runtime.metrics import METRICS
from sluice.runtime.output import Output
from sluice.runtime.telling import Telling
from sluice.services.node_ovs.answers import Answers
from sluice.services.node_ovs.audit import Audit
from sluice.services.node_ovs.away import Away
from sluice.services.node_ovs.checksums import Checksums, watched
from sluice.services.node_ovs.counting import Counting, counters
from sluice.services.node_ovs.ending import Ender
from sluice.services.node_ovs.errands import Errands
from sluice.services.node_ovs.explaining import Explaining
from sluice.services.node_ovs.handover import verified_of
from sluice.services.node_ovs.idsfile import IdsFile
from sluice.services.node_ovs.multicast import Multicast
from sluice.services.node_ovs.podports import pod_ports
from sluice.services.node_ovs.programmer import Change, Programmer
from sluice.services.node_ovs.resolving import Resolving
from sluice.services.node_ovs.settings import NodeOvsSettings
from sluice.services.node_ovs.statefile import StateFile
from sluice.services.node_ovs.tagging import Tagging, tags_read
from sluice.services.node_ovs.tracing import Tracing
from sluice.services.node_ovs.traffic_ports import TrafficPorts, found_ports
from sluice.services.node_ovs.uplinks import engine_ports, uplinks

log = structlog.get_logger()

_repairs = METRICS.counter("sluice_node_ovs_repairs_total", "How often somebody else's changes were put right")

RETRY_S = 0.2
"""Between two attempts to reach a daemon that is away: a restart of ovs-vswitchd takes 0.2 to 0.3 s."""

REFUSED_RETRY_S = 1.0
"""After a change failed: it will most likely fail again until something else changes."""

DRIFT_PAUSE_S = 0.5
"""Between two looks at a switch that somebody else changes all the time: reading it costs more than changing it."""

IDS_INTERVAL_S = 1.0
"""Between two looks whether the ids of rules have to be written down."""


class Shell:
    def __init__(self, settings: NodeOvsSettings, bus: Bus) -> None:
        self._node = NodeName(settings.node_name)
        self._run_dir = Path(settings.run_dir)
        self._bridge = settings.bridge
        self._socket = self._run_dir / f"{self._bridge}.mgmt"
        self._hand_over = Path(settings.hand_over)
        self._resync_s = settings.resync_interval_s
        self._bus = bus
        self._ids_file = IdsFile(Path(settings.state_dir) / "rule-ids.json")
        self._ids = self._ids_file.load()
        first_tag = secrets.randbelow(TAGS) + 1
        self._programmer = Programmer(
            self._node, self._ids, settings.naming, tag=first_tag, end_denied=settings.end_denied
        )
        self._names_file = StateFile(Path(settings.state_dir) / "names.json", NamesState)
        self._audit = Audit(settings.audit_folder, Path(settings.state_dir), settings.audit_limits)
        counts_file = Path(settings.state_dir) / "rule-counts.json"
        self._counting = Counting(
            bus, self._node, counts_file, (self._ids, self._programmer.traffic), settings.stats_interval_s
        )
        self._ender = Ender(self._bridge, lambda: control_socket(self._run_dir), self._programmer)
        self._tracing = Tracing(bus, self._node, self._bridge, lambda: control_socket(self._run_dir), self._programmer)
        self._news = asyncio.Event()
        naming = self._programmer.naming
        naming.names.restore(self._names_file.load() or NamesState(), monotonic(), time())
        self._names_saved = naming.names.changes
        self._answers = Answers(naming, self._programmer.holder, self._news.set, lambda: self.ready)
        self._resolving = Resolving(naming, settings.ahead_server, self._news.set)
        self._errands = Errands(
            reject_rate=settings.reject_rate,
            packet_in_rate=settings.packet_in_rate,
            dns_rate=settings.dns_rate,
            answers=self._answers,
            state_folder=Path(settings.state_dir),
        )
        self._multicast = Multicast(
            bus, self._node, self._programmer.multicast, settings.igmp_query_interval_s, self._news.set
        )
        self._multicast.take_part_in(self._errands, settings.igmp_rate)
        Tagging(self._change_tag).take_part_in(self._errands)
        self._feed = Feed(bus, self._programmer, resync_s=settings.resync_interval_s, told=self._news.set)
        self.away = Away(settings, bus, self._feed, self._programmer, self._news.set)
        self._told = asyncio.Event()
        self._switch: Switch | None = None
        self._behind = True
        """The switch may hold something else than what the programmer said so far."""

        self._detail = "not connected to the switch yet"
        self._port_errors: tuple[str, ...] = ()
        self._checksums = Checksums(self._run_dir, self._told.set)
        self._traffic_ports = TrafficPorts(self._run_dir, self._bridge)
        self._found: dict[str, Found] = {}
        self._ports_due = asyncio.Event()
        """There may be ports to make, or to remove, for TrafficControls."""

        self._applied: Revision = NEVER
        self._drifted = False
        """Somebody else changed the switch since it was last read."""

        self._repairs = 0
        self._cache_is_old = False
        """Flows were changed, and the datapath may still use what it cached of those before."""

    @property
    def ready(self) -> bool:
        return self._programmer.in_sync and not self._behind

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for task in (
                self._feed.run,
                self._watch_ports,
                self._watch_engine,
                self._hold_switch,
                self._apply,
                self._report,
                self._keep_ids,
                self._keep_traffic_ports,
                self._keep_names,
                self._resolving.run,
                self.away.watch,
            ):
                tasks.create_task(task(), name=task.__name__.strip("_"))
            tasks.create_task(self._audit.run(self._socket), name="audit")
            tasks.create_task(self._tracing.run(), name="tracing")
            telling = Telling(self._bus, self._node, "ovs", Explaining(self._node, self._programmer))
            tasks.create_task(telling.run(), name="telling")
            tasks.create_task(self._multicast.run(), name="multicast")
            tasks.create_task(self._checksums.run(), name="checksums")

    async def _watch_ports(self) -> None:
        while True:
            try:
                ovsdb = await Ovsdb.connect(self._run_dir / "db.sock")
                try:
                    monitor = await ovsdb.monitor()
                    async for _ in monitor:
                        self._found = found_ports(monitor.view, self._bridge)
                        self._interfaces_are(tuple(monitor.view.interfaces(self._bridge)))
                finally:
                    ovsdb.close()
            except (OSError, RpcGone) as error:
                log.warning("ovsdb_lost", error=str(error), kept="ports stay as they were")
            await asyncio.sleep(RETRY_S)

    async def _watch_engine(self) -> None:
        async for verified in verified_of(self._hand_over):
            counts = {"rule_sets": len(verified.vlans), "deserted": len(verified.deserted)}
            log.info("inspection_changed", **counts, file=str(self._hand_over))
            self._programmer.verified_are(*verified)
            self._news.set()

    def _change_tag(self) -> None:
        self._programmer.change_tag()
        self._news.set()

    def _interfaces_are(self, interfaces: Sequence[Interface]) -> None:
        ports, port_errors = pod_ports(interfaces)
        ways, way_errors = uplinks(interfaces)
        errors = (*port_errors, *way_errors)
        if errors != self._port_errors:
            self._port_errors = errors
            log.warning("ports_refused", errors=errors)
        self._checksums.ports_are(watched(interfaces))
        self._programmer.ports_are(ports)
        self._programmer.uplinks_are(ways)
        self._programmer.traffic_ports_are(self._found, self._traffic_ports.refused)
        self._ports_due.set()
        self._programmer.engine_ports_are(engine_ports(interfaces))
        self._news.set()

    async def _keep_traffic_ports(self) -> None:
        """Make ports before flows lead to them, and remove them when none does any more."""
        while True:
            await self._ports_due.wait()
            self._ports_due.clear()
            if not self._programmer.in_sync:
                continue
            try:
                remove = not self._behind and self._applied == self._programmer.upto
                await self._traffic_ports.bring(self._programmer.traffic.wishes(), self._found, remove=remove)
            except (OSError, RpcGone) as error:
                log.warning("traffic_ports_wait", error=str(error))
                asyncio.get_running_loop().call_later(REFUSED_RETRY_S, self._ports_due.set)
                continue
            if self._traffic_ports.refused:  # a device may come
                asyncio.get_running_loop().call_later(REFUSED_RETRY_S, self._ports_due.set)
            self._programmer.traffic_ports_are(self._found, self._traffic_ports.refused)
            self._news.set()

    async def _hold_switch(self) -> None:
        while True:
            try:
                switch = await self._connect()
            except (OSError, SwitchGone) as error:
                self._detail = f"switch: {error}"
                await asyncio.sleep(RETRY_S)
                continue
            self._switch, self._behind, self._detail = switch, True, "the switch is not read yet"
            self._news.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._errands.run(switch), name="errands")
                tasks.create_task(self._counting.run(switch), name="counting")
                reason = await self._watch_switch(switch)
            self._switch, self._behind, self._detail = None, True, f"switch lost: {reason}"
            self._told.set()
            log.warning("switch_lost", reason=reason)

    async def _connect(self) -> Switch:
        """A connection that hears what others do to the switch, from before it is read."""
        switch = await Switch.connect(self._socket)
        self._programmer.switch_reads_two_tags(so=await tags_read(control_socket(self._run_dir), self._bridge) >= 2)
        try:
            await self._audit.before_meter_is_set(switch)
            await self._errands.prepare(switch)
        except RequestRefused as error:
            log.error("packets_not_heard", error=str(error), instead="who is rejected hears nothing of it")
        try:
            await switch.hear_changes()
        except RequestRefused as error:
            log.error("changes_not_heard", error=str(error), instead=f"read back every {self._resync_s:g} s")
        return switch

    async def _watch_switch(self, switch: Switch) -> str:
        """Have it read back whenever somebody else changed it; why the connection ended."""
        while not switch.closed.done():
            changed = asyncio.ensure_future(switch.changed_by_others.wait())
            await asyncio.wait((changed, switch.closed), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if switch.changed_by_others.is_set():
                switch.changed_by_others.clear()
                self._drifted, self._behind = True, True
                self._detail = "somebody else changed flows of the bridge; they are being put right"
                log.warning("drift_found", bridge=self._bridge)
                self._news.set()
                await asyncio.wait((switch.closed,), timeout=DRIFT_PAUSE_S)
        return switch.closed.result()

    async def _apply(self) -> None:
        resync_at = monotonic() + self._resync_s
        while True:
            now = monotonic()
            deadline = min(resync_at, self._programmer.next_deadline_s(now) or resync_at)
            try:
                async with asyncio.timeout(max(0.0, deadline - now)):
                    await self._news.wait()
            except TimeoutError:
                if monotonic() >= resync_at:
                    resync_at = monotonic() + self._resync_s
                    self._behind = True
            self._news.clear()
            try:
                await self._advance()
            except (SwitchGone, RpcGone, OSError, CommandRefused) as error:  # the connection's own task makes it anew
                self._behind, self._detail = True, str(error)
                log.warning("apply_interrupted", error=str(error))
                asyncio.get_running_loop().call_later(REFUSED_RETRY_S, self._news.set)
            except (BundleRefused, NotEncodable, Undecodable) as error:
                self._behind, self._detail = True, str(error)
                log.error("bundle_refused", error=str(error), kept="the switch holds what it held")
                asyncio.get_running_loop().call_later(REFUSED_RETRY_S, self._news.set)
            self._told.set()

    async def _advance(self) -> None:
        if self._programmer.in_sync:
            self._answers.read(monotonic())
        change = self._programmer.advance(monotonic())
        self._resolving.poke()
        self._feed.tell_interests()
        if change is not None:
            self._audit.ports_are(change.opened)
            await self._audit.attribute(change.attributions)
        switch = self._switch
        if switch is None or not self._programmer.in_sync:
            self._behind = self._behind or change is not None
        elif self._behind:
            await self._replay(switch)
        elif change is not None and change.concerns_switch:
            await self._send(switch, change)
        if not self._behind and switch is not None:
            self._applied = self._programmer.upto
            self._answers.release(switch)
            self._multicast.look(switch)
        if self._traffic_ports.differs(self._programmer.traffic.wishes(), self._found):
            self._ports_due.set()

    async def _replay(self, switch: Switch) -> None:
        """Bring the switch to what the programmer says, whatever it holds."""
        started = monotonic()
        flows = self._programmer.flows
        strangers: tuple[Stranger, ...] = ()
        drifted, self._drifted = self._drifted, False
        try:
            actual = await switch.dump()
        except UnreadableFlows as error:
            actual, strangers = error.flows, error.strangers
        difference = plan(flows, actual, alone=True)
        await self._counting.begin(switch, difference.put, actual)
        groups, held_groups = self._programmer.groups, await switch.dump_groups()
        put_groups = {number: made for number, made in groups.items() if held_groups.get(number) != made}
        delete_groups = held_groups.keys() - groups.keys()
        if strangers or put_groups or delete_groups or not difference.empty:
            ports = self._programmer.open_ports
            guarded = [port for port in ports if not difference.put.keys().isdisjoint(guards(port))]
            await self._flush(guarded, opening=True)
            await self._errands.ensure_meters(switch)
            await self._change(
                switch,
                *(difference.put, difference.delete, strangers),
                groups=put_groups,
                delete_groups=delete_groups,
            )
            elapsed_ms = round(1000 * (monotonic() - started))
            counts = {"put": len(difference.put), "deleted": len(difference.delete), "flows": len(flows)}
            if drifted:
                self._repairs += 1
                _repairs.add(1)
            log.info(
                "drift_repaired" if drifted else "switch_replayed",
                **counts,
                elapsed_ms=elapsed_ms,
                upto=self._programmer.upto.sequence,
            )
        elif self._cache_is_old:  # the last change went in, and was interrupted after that
            await self._forget_cached()
        await self._end_denied()
        self._caught_up(switch)

    async def _send(self, switch: Switch, change: Change) -> None:
        if not change.decides:
            await switch.apply(change.put, change.delete)
            return
        started = monotonic()
        self._behind, self._detail = True, "a change is on its way to the switch"
        await self._flush(change.opened, opening=True)
        await self._counting.begin(switch, change.put)
        await self._change(switch, change.put, change.delete, groups=change.groups, delete_groups=change.delete_groups)
        await self._flush(change.closed, opening=False)
        if change.endpoints_gone:
            await Tracker(control_socket(self._run_dir)).forget_udp(CT_ZONE, change.endpoints_gone)
        await self._end_denied()
        self._caught_up(switch)
        self._multicast.query(switch, [port.ofport for port in change.opened])
        elapsed_ms = round(1000 * (monotonic() - started))
        counts = {"put": len(change.put), "deleted": len(change.delete)}
        ports = {"opened": [port.pod for port in change.opened], "closed": [port.pod for port in change.closed]}
        log.info("program_applied", **counts, **ports, elapsed_ms=elapsed_ms, upto=self._programmer.upto.sequence)

    async def _change(
        self,
        switch: Switch,
        put: Flows,
        delete: Collection[FlowKey],
        strangers: Collection[Stranger] = (),
        *,
        groups: Mapping[int, Buckets],
        delete_groups: Collection[int],
    ) -> None:
        """The switch is changed, its cache holds nothing of before, and what went has been counted to the last packet.

        The datapath tells what it forwarded about twice a second, and what it did not tell before a change is counted
        by the flows of after. So it is asked first, but never at the cost of the change.
        """
        with suppress(CommandRefused, RpcGone, OSError):
            await self._forget_cached()
        self._cache_is_old = True
        counting = counters(delete)
        await switch.apply(*(put, frozenset(delete) - counting, strangers), groups=groups, delete_groups=delete_groups)
        await self._forget_cached()
        if counting:
            await self._counting.end(switch, counting)

    async def _end_denied(self) -> None:
        """Policies that end what they deny have done so."""
        if self._programmer.ending.due:
            await self._ender.run()
            self._programmer.ending.due = False

    def _caught_up(self, switch: Switch) -> None:
        """The switch holds what the programmer said, unless it was lost or changed by somebody else meanwhile."""
        if self._switch is switch and not self._drifted:
            self._behind, self._detail = False, ""

    async def _flush(self, ports: Iterable[LocalPort], *, opening: bool) -> None:
        """Forget the connections of these Pods' addresses.

        Those of ICMPv6 go only with all others of the zone. Nobody can use them while the port is closed, so that is
        done where the next Pod has the address so soon that they are still there. Who may talk goes on all the same.
        """
        addresses = sorted({address for port in ports for address in port.addresses})
        if not addresses:
            return
        tracker = Tracker(control_socket(self._run_dir))
        if self._programmer.traffic.redirects:
            await tracker.flush(REDIRECT_ZONE, addresses)
        kept = await tracker.flush(CT_ZONE, addresses)
        if kept and opening:
            log.warning("all_connections_forgotten", because_of=sorted(kept))
            await tracker.flush_zone(CT_ZONE)

    async def _forget_cached(self) -> None:
        """From now on packets meet the flows that the switch holds, not what its datapath has cached of earlier ones.

        Open vSwitch answers a bundle before it revalidates its cache: for some milliseconds connections still begin,
        and are committed, by the flows of before. Purging costs one, and an upcall for each kind of packet on its way.
        Source: ovs-vswitchd(8), revalidator/purge.
        """
        await command(control_socket(self._run_dir), "revalidator/purge")
        self._cache_is_old = False

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

    async def _report(self) -> None:
        """Tell the bus what is applied, whenever that changes."""
        async with await Output.open(self._bus, "STATUS", [subjects.status(self._node, "ovs")]) as output:
            while True:
                await self._told.wait()
                self._told.clear()
                output.put(subjects.status(self._node, "ovs"), self._status())
                await output.settled()

    def _status(self) -> NodeStatus:
        programmer = self._programmer
        return NodeStatus(
            node=self._node,
            backend="ovs",
            applied=self._applied,
            healthy=not self._behind and programmer.in_sync,
            detail=self._detail or ("" if programmer.in_sync else "not in sync with the bus yet"),
            ports=tuple(port.pod for port in programmer.open_ports),
            waiting_ports=programmer.waiting_ports,
            port_errors=(*self._port_errors, *self._checksums.errors),
            problems=programmer.problems,
            repairs=self._repairs,
        )


def guards(port: LocalPort) -> frozenset[FlowKey]:
    """The flows without which the port is not open for its Pod: they name its MAC and addresses."""
    return frozenset(key for key in port_flows(port, port.addresses) if key.table == Table.SPOOF_GUARD)


def control_socket(run_dir: Path) -> Path:
    """Where ovs-vswitchd listens for commands: a fixed name, or by default one with its pid.

    Raises:
        FileNotFoundError: it does not run.
    """
    fixed = run_dir / "ovs-vswitchd.ctl"
    if fixed.exists():
        return fixed
    pid = (run_dir / "ovs-vswitchd.pid").read_text().strip()
    return run_dir / f"ovs-vswitchd.{pid}.ctl"
