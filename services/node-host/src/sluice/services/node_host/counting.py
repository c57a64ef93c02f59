"""Rule counters: read from the kernel periodically, published on STATS and to Prometheus.

The kernel holds the counters, named after their rules. They outlive us; a counter is removed with its rule.
"""

import asyncio
from collections.abc import Iterator, Mapping
from time import time_ns

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.stats import NodeStats, RuleCount
from sluice.dataplane.host.engine import Placed
from sluice.drivers.nftables.tables import NoNft, Refused, Tables
from sluice.runtime.bus import Bus
from sluice.runtime.metrics import METRICS
from sluice.services.node_host.programmer import Programmer

log = structlog.get_logger()

ACK_TIMEOUT_S = 5.0
_LABELS = ("kind", "namespace", "policy", "direction", "rule")


class Counting:
    def __init__(self, bus: Bus, node: NodeName, facts: Programmer, tables: Tables) -> None:
        self._bus, self._node, self._facts, self._tables = bus, node, facts, tables
        self._rules: tuple[RuleCount, ...] = ()
        self._told: tuple[RuleCount, ...] = ()
        for what in ("packets", "bytes"):
            METRICS.rows(
                f"sluice_node_host_rule_{what}_total",
                f"{what.capitalize()} that a rule about Nodes judged: of connections the first; rule is its index",
                _LABELS,
                lambda what=what: self._rows(what),  # type: ignore[misc]  # the default binds `what` now
            )

    async def read(self) -> Mapping[str, tuple[int, int]]:
        """Read and publish the counters; returns packets and bytes by rule id."""
        try:
            counts = await asyncio.to_thread(self._tables.counts)
        except (NoNft, Refused, OSError) as error:
            log.warning("counts_not_read", error=str(error))
            return {}
        self._rules = tuple(counted(counts, self._facts.rules))
        await self._tell()
        return counts

    async def _tell(self) -> None:
        if self._rules == self._told:
            return
        said = NodeStats(node=self._node, backend="host", at_us=time_ns() // 1_000, rules=self._rules)
        try:
            await self._bus.js.publish(
                subjects.stats(self._node, "host"), codec.encode(said), timeout=ACK_TIMEOUT_S, stream="STATS"
            )
        except (NatsError, JetStreamError, OSError, TimeoutError) as error:
            log.warning(
                "stats_not_told", error=str(error) or type(error).__name__, instead="they are added to the next ones"
            )
        else:
            self._told = self._rules

    def _rows(self, what: str) -> Iterator[tuple[tuple[str, ...], float]]:
        for one in self._rules:
            yield (*subjects.unit_parts(one.unit), one.direction, str(one.rule)), float(getattr(one, what))


def counted(counts: Mapping[str, tuple[int, int]], rules: Mapping[str, Placed]) -> Iterator[RuleCount]:
    """The counters as they are published, sorted; rules that never matched a packet are left out."""
    found = []
    for name, (packets, size) in counts.items():
        placed = rules.get(name)
        if placed is not None and packets:
            unit, rule = placed.program.unit, placed.rule
            found.append(
                RuleCount(
                    unit=unit,
                    direction=rule.direction,
                    rule=rule.index,
                    sessions=packets,
                    packets=packets,
                    bytes=size,
                )
            )
    yield from sorted(found, key=lambda one: (one.unit, one.direction, one.rule or 0))
