"""Keeps the switch at the programmer's state: one change at a time, or a full replay whenever the switch may differ.

Connections that must not outlive a change are flushed with it, as is the datapath's cache of the old flows.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic

import structlog

from sluice.dataplane.ovs.conntrack import CT_ZONE, REDIRECT_ZONE
from sluice.dataplane.ovs.flow import Buckets, FlowKey, Flows
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.plan import plan
from sluice.dataplane.ovs.ports import LocalPort, port_flows
from sluice.drivers.conntrack.tracker import Tracker
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.openflow.flow_mod import Stranger
from sluice.drivers.openflow.switch import Switch, UnreadableFlows
from sluice.drivers.unixctl import CommandRefused, command, control_socket
from sluice.runtime.metrics import METRICS
from sluice.services.node_ovs.counting import Counting, counters
from sluice.services.node_ovs.ending import Ender
from sluice.services.node_ovs.errands import Errands
from sluice.services.node_ovs.multicast import Multicast
from sluice.services.node_ovs.programmer import Change, Programmer

log = structlog.get_logger()

_repairs = METRICS.counter("sluice_node_ovs_repairs_total", "Changes by others that were reverted")


class Upkeep:
    def __init__(
        self,
        run_dir: Path,
        programmer: Programmer,
        *,
        counting: Counting,
        errands: Errands,
        multicast: Multicast,
        ender: Ender,
    ) -> None:
        self._run_dir, self._programmer, self._counting = run_dir, programmer, counting
        self._errands, self._multicast, self._ender = errands, multicast, ender
        self.switch: Switch | None = None
        """The current connection to the switch."""

        self._behind = True
        """The switch may differ from the programmer's state."""

        self.detail = "not connected to the switch yet"
        """Why it may differ; empty if it does not."""

        self._drifted = False
        """Somebody else changed the switch since it was last read."""

        self.repairs = 0
        """How many times changes made by others were repaired."""

        self._unflushed: set[LocalPort] = set()
        """Ports whose connections are to be flushed once the switch is up to date."""

        self._cache_is_old = False
        """Flows were changed, and the datapath may still use cached old ones."""

    @property
    def done(self) -> bool:
        """The switch holds the programmer's latest state."""
        return not self._behind

    def use(self, switch: Switch | None, detail: str = "the switch is not read yet") -> None:
        """Use this connection from now on, or none."""
        self.switch, self._behind, self.detail = switch, True, detail

    def doubt(self) -> None:
        """Note that somebody else changed the switch."""
        self._drifted, self._behind = True, True
        self.detail = "another program changed flows of the bridge; they are being restored"

    def look_again(self, detail: str | None = None) -> None:
        """Do a full replay next time; `detail` says why, if something went wrong."""
        self._behind = True
        if detail is not None:
            self.detail = detail

    async def advance(self, change: Change | None) -> None:
        """Bring the switch up to the programmer's state, including this change, if there is a connection.

        Raises:
            SwitchGone, RpcGone, OSError, CommandRefused: a connection was lost halfway; look again.
            BundleRefused, NotEncodable, Undecodable: the switch is unchanged; look again.
        """
        self._unflushed.update(change.closed if change is not None else ())
        if self.switch is None or not self._programmer.in_sync:
            self._behind = self._behind or change is not None
        elif self._behind:
            await self._replay(self.switch)
        elif change is not None and change.concerns_switch:
            await self._send(self.switch, change)

    async def _replay(self, switch: Switch) -> None:
        """Bring the switch to the programmer's state, whatever it holds."""
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
                self.repairs += 1
                _repairs.add(1)
            log.info(
                "drift_repaired" if drifted else "switch_replayed",
                **counts,
                elapsed_ms=elapsed_ms,
                upto=self._programmer.upto.sequence,
            )
        elif self._cache_is_old:  # the last change was sent, but interrupted afterwards
            await self._forget_cached()
        await self._flush_closed()
        await self._end_denied()
        self._caught_up(switch)

    async def _send(self, switch: Switch, change: Change) -> None:
        if not change.decides:
            await switch.apply(change.put, change.delete)
            return
        started = monotonic()
        self._behind, self.detail = True, "a change is on its way to the switch"
        await self._flush(change.opened, opening=True)
        await self._counting.begin(switch, change.put)
        await self._change(switch, change.put, change.delete, groups=change.groups, delete_groups=change.delete_groups)
        await self._flush_closed()
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
        """Change the switch, purge its cache, and count removed flows up to their last packet.

        The datapath reports what it forwarded about twice a second; packets not reported before a change are counted by
        the flows after it. So the cache is purged before the change too, but a failure of that does not hold up the
        change.
        """
        with suppress(CommandRefused, RpcGone, OSError):
            await self._forget_cached()
        self._cache_is_old = True
        counting = counters(delete)
        await switch.apply(*(put, frozenset(delete) - counting, strangers), groups=groups, delete_groups=delete_groups)
        await self._forget_cached()
        if counting:
            await self._counting.end(switch, counting)

    async def _flush_closed(self) -> None:
        """Flush the connections of ports that the programmer has closed."""
        await self._flush(self._unflushed, opening=False)
        self._unflushed.clear()

    async def _end_denied(self) -> None:
        """Let policies that end denied connections do so."""
        if self._programmer.ending.due:
            await self._ender.run()
            self._programmer.ending.due = False

    def _caught_up(self, switch: Switch) -> None:
        """Mark the switch as up to date, unless it was lost or changed by somebody else meanwhile."""
        if self.switch is switch and not self._drifted:
            self._behind, self.detail = False, ""

    async def _flush(self, ports: Iterable[LocalPort], *, opening: bool) -> None:
        """Flush the conntrack entries of these ports' addresses.

        ICMPv6 entries can only be flushed together with the whole zone. Nobody can use them while the port is closed,
        so this is done only if the next Pod gets the address while they still exist. Allowed connections survive the
        flush.
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
        """Purge the datapath's flow cache, so that packets meet the current flows.

        Open vSwitch acknowledges a bundle before it revalidates its cache: for some milliseconds new connections are
        still allowed and committed by the old flows. A purge costs a millisecond, and an upcall per kind of packet in
        flight. Source: ovs-vswitchd(8), revalidator/purge.
        """
        await command(control_socket(self._run_dir), "revalidator/purge")
        self._cache_is_old = False


def guards(port: LocalPort) -> frozenset[FlowKey]:
    """The spoof guard flows of a port: they name its MAC and addresses, and without them it is not open."""
    return frozenset(key for key in port_flows(port, port.addresses) if key.table == Table.SPOOF_GUARD)
