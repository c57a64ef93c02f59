"""The nodes' counters by policy: read from STATS on request, but not more often than nodes report."""

import asyncio
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct
from nats.errors import Error as NatsError

from sluice.contracts import codec
from sluice.contracts.ids import Backend, Unit
from sluice.contracts.stats import NodeStats, RuleCount, TrafficCount
from sluice.runtime import stats
from sluice.runtime.bus import Bus

log = structlog.get_logger()

T = TypeVar("T", bound=Struct)

BACKENDS: tuple[Backend, ...] = ("ovs", "host")
"""Backends that count."""

KEPT_S = 5.0
"""Nodes report every 10 s."""


class Counted(Struct, frozen=True):
    """Sums over all nodes."""

    rules: Mapping[Unit, tuple[RuleCount, ...]] = {}
    """Of each policy, by direction and index."""

    traffic: Mapping[Unit, TrafficCount] = {}


class Counts:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._found: Counted | None = None
        self._at_s = float("-inf")
        self._reading = asyncio.Lock()

    async def newest(self) -> Counted | None:
        """Counters at most a few seconds old; None if the bus does not answer."""
        async with self._reading:
            if monotonic() - self._at_s > KEPT_S:
                try:
                    told = [one for backend in BACKENDS for one in await stats.newest(self._bus, backend)]
                    self._found = sums(told)
                except (codec.Undecodable, TimeoutError, NatsError) as error:
                    log.warning("counts_not_read", error=str(error) or type(error).__name__)
                    self._found = None
                self._at_s = monotonic()
            return self._found


def sums(nodes: Iterable[NodeStats]) -> Counted:
    """Sum up the counters of all nodes."""
    rules: dict[tuple[Unit, str, int], RuleCount] = {}
    traffic: dict[Unit, TrafficCount] = {}
    for node in nodes:
        for one in node.rules:
            key = one.unit, one.direction.value, -1 if one.rule is None else one.rule
            rules[key] = _more(rules.get(key), one, ("sessions", "packets", "bytes"))
        for control in node.traffic:
            traffic[control.unit] = _more(traffic.get(control.unit), control, ("mirrored", "redirected", "dropped"))
    by_unit: dict[Unit, tuple[RuleCount, ...]] = {}
    for (unit, _, _), one in sorted(rules.items()):
        by_unit[unit] = (*by_unit.get(unit, ()), one)
    return Counted(by_unit, traffic)


def _more(sum_: T | None, one: T, fields: tuple[str, ...]) -> T:
    if sum_ is None:
        return one
    return msgspec.structs.replace(one, **{name: getattr(sum_, name) + getattr(one, name) for name in fields})
