"""Rule counters: read from the switch periodically, summed up, kept in a file, published on STATS and to Prometheus.

A counting flow is removed only after its final count was read, with the datapath's flow cache empty.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from time import time_ns

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.stats import NodeStats, RuleCount, TrafficCount
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.counting import counter
from sluice.dataplane.ovs.counts import Counts, CountsState, Name, Reading
from sluice.dataplane.ovs.flow import FlowKey
from sluice.dataplane.ovs.ids import ISOLATION, RuleIds
from sluice.dataplane.ovs.pipeline import PRIORITY_FIRST, Table
from sluice.dataplane.ovs.traffic import Traffic
from sluice.dataplane.ovs.traffic_counts import TrafficCounts
from sluice.drivers.openflow.errors import SwitchGone
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.switch import Switch
from sluice.runtime.bus import Bus
from sluice.runtime.metrics import METRICS
from sluice.services.node_ovs.statefile import StateFile

log = structlog.get_logger()

ACK_TIMEOUT_S = 5.0

ONE_BY_ONE = 32
"""Up to this many rules are queried one by one, by cookie. A query by cookie takes the switch as long for few flows as
for many; beyond this, all counting flows are read at once."""

_TRAFFIC = cookies.pack(CookieKind.TRAFFIC_CONTROL), 0xFFFFFF << cookies.KIND_SHIFT
_ALL = cookies.pack(CookieKind.COUNT), 0xFFFFFF << cookies.KIND_SHIFT
EXACTLY = 0xFFFFFFFF_FFFFFFFF
_LABELS = ("kind", "namespace", "policy", "direction", "rule")


class Counting:
    def __init__(self, bus: Bus, node: NodeName, file: Path, of: tuple[RuleIds, Traffic], interval_s: float) -> None:
        """`of` holds the node's rule ids and its TrafficControls."""
        ids, traffic = of
        self._bus, self._node, self._ids, self._interval_s = bus, node, ids, interval_s
        self._file = StateFile(file, CountsState)
        self._counts = Counts(self._file.load(), {ids.allocate(key): key for key in ids})
        self._reading = asyncio.Lock()
        """Serialises readings: concurrent ones could be taken in the wrong order."""

        self._saved_at = self._counts.changes
        self._traffic, self._traffic_counts = traffic, TrafficCounts()
        self._steered: tuple[TrafficCount, ...] = ()
        self._published: tuple[tuple[RuleCount, ...], tuple[TrafficCount, ...]] = ((), ())
        self._told: frozenset[Name] = frozenset()
        """The rules held at the last report; those that ended since are reported once more."""

        METRICS.rows(
            "sluice_node_ovs_traffic_packets_total",
            "Packets that a TrafficControl mirrored, redirected, or dropped while a port was missing",
            ("control", "became"),
            lambda: (
                ((subjects.unit_parts(one.unit)[2], became), float(getattr(one, became)))
                for one in self._steered
                for became in ("mirrored", "redirected", "dropped")
            ),
        )
        for what in ("sessions", "packets", "bytes"):
            METRICS.rows(
                f"sluice_node_ovs_rule_{what}_total",
                f"{what.capitalize()} that a rule decided about; rule is its index, or `isolation`",
                _LABELS,
                lambda what=what: self._rows(what),  # type: ignore[misc]  # the default binds `what` now
            )

    async def run(self, switch: Switch) -> None:
        """Read, save and publish until cancelled or the connection ends."""
        while not switch.closed.done():
            try:
                await self.read(switch)
                await self._read_traffic(switch)
            except Undecodable as error:
                log.error("counts_not_read", error=str(error))
            except SwitchGone:
                return
            await self._tell()
            await asyncio.wait((switch.closed,), timeout=self._interval_s)

    async def read(self, switch: Switch, ids: Collection[int] = ()) -> None:
        """Update and save the sums of these rules, or of all rules if none are given.

        Raises:
            SwitchGone, Undecodable
        """
        async with self._reading:
            self._counts.take(await readings(switch, ids))
        self._keep()

    async def _read_traffic(self, switch: Switch) -> None:
        means = self._traffic.counted()
        readings = [
            ((int(table), one.cookie & 0xFFFFFFFF), one.packets)
            for table in (Table.COPY, Table.REDIRECT)
            for one in (await switch.counted(table, *_TRAFFIC) if means else ())
        ]
        self._steered = self._traffic_counts.take(readings, means)

    async def begin(self, switch: Switch, put: Iterable[FlowKey], actual: Iterable[FlowKey] = ()) -> None:
        """Before flows are put: record which rules they count for, and the count they start from.

        Args:
            actual: what the switch holds already.

        Raises:
            SwitchGone, Undecodable
        """
        there = _counted_for(actual)
        async with self._reading:
            strange = there - self._counts.held_ids
            if strange:
                self._counts.pass_over(one for one in await readings(switch) if one.id in strange)
            for number in strange | _counted_for(put):
                if number not in there:
                    self._counts.begin(number)
                rule = self._ids.key(number)
                if rule is not None:
                    self._counts.hold(number, rule)
        self._keep()

    async def end(self, switch: Switch, gone: Collection[FlowKey]) -> None:
        """Read the final counts of these flows, then remove them. Call it with the datapath's flow cache empty.

        Raises:
            SwitchGone, Undecodable, BundleRefused
        """
        ids = _counted_for(gone)
        await self.read(switch, ids)
        await switch.apply({}, gone)
        async with self._reading:
            for number in ids:
                self._counts.let_go(number)
        self._keep()

    def _keep(self) -> None:
        if self._counts.changes != self._saved_at:
            self._file.save(self._counts.state())
            self._saved_at = self._counts.changes

    async def _tell(self) -> None:
        rules, traffic = self._counts.counted(self._told), self._steered
        if (rules, traffic) == self._published:
            return
        told = NodeStats(node=self._node, backend="ovs", at_us=time_ns() // 1_000, rules=rules, traffic=traffic)
        try:
            await self._bus.js.publish(
                subjects.stats(self._node, "ovs"), codec.encode(told), timeout=ACK_TIMEOUT_S, stream="STATS"
            )
        except (NatsError, JetStreamError, OSError, TimeoutError) as error:
            log.warning(
                "stats_not_told", error=str(error) or type(error).__name__, instead="they are added to the next ones"
            )
        else:
            self._told, self._published = self._counts.held, (rules, traffic)

    def _rows(self, what: str) -> Iterator[tuple[tuple[str, ...], float]]:
        for said, counted in self._counts.rules():
            kind, namespace, policy = subjects.unit_parts(said.unit)
            rule = "isolation" if said.rule == ISOLATION else str(said.rule)
            yield (kind, namespace, policy, said.direction, rule), getattr(counted, what)


def counters(keys: Iterable[FlowKey]) -> frozenset[FlowKey]:
    """The flows among `keys` that count."""
    return frozenset(key for key in keys if counter(key) is not None)


def _counted_for(keys: Iterable[FlowKey]) -> frozenset[int]:
    return frozenset(number for key in keys if (number := counter(key)) is not None)


async def readings(switch: Switch, ids: Collection[int] = ()) -> list[Reading]:
    """Return the non-zero counters of the flows of these rules, or of all rules if none are given."""
    if 0 < len(ids) <= ONE_BY_ONE:
        told = [
            await switch.counted(Table.COUNT, cookies.pack(CookieKind.COUNT, number), EXACTLY) for number in sorted(ids)
        ]
    else:
        told = [await switch.counted(Table.COUNT, *_ALL)]
    return [
        Reading(one.cookie & 0xFFFFFFFF, one.priority == PRIORITY_FIRST, one.packets, one.bytes)
        for part in told
        for one in part
        if one.packets
    ]
