"""Moves the leadership of a stalled mirror.

When the server that leads LEDGER stops, OBJECTS resumes up to twenty seconds later than LEDGER, because the mirror's
leader checks its source only every ten seconds, whereas a new leader begins with a request. So the writer of the source
watches the mirror and makes its leader step down. With a single server there is no other leader, and nothing is done.
"""

import asyncio
from typing import NamedTuple

import nats.errors
import structlog
from nats.js.errors import NotFoundError

from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.metrics import METRICS

log = structlog.get_logger()

LOOK_S = 1.0
STALLED_LOOKS = 2
"""Looks in a row with the source ahead and the mirror unchanged, after which the mirror's leader steps down."""

PAUSE_S = 5.0
"""Pause after that, in seconds: an election takes up to this long."""

_pushed = METRICS.counter(
    "sluice_mirror_leaders_changed_total", "Mirrors that stood still and were given another leader"
)


class Look(NamedTuple):
    """The last sequences of both streams, and whether the mirror has replicas that could lead it."""

    mirror: int
    source: int
    replicated: bool


def stalled(looks: list[Look]) -> bool:
    """Whether the mirror did not move in all these looks (oldest first), though the source was ahead at the first."""
    behind = looks[0].mirror < looks[0].source
    return len(looks) > STALLED_LOOKS and behind and len({one.mirror for one in looks}) == 1


async def push(bus: Bus, mirror: str, source: str) -> None:
    """Watch the mirror forever. A missing stream is left to whoever creates it."""
    looks: list[Look] = []
    while True:
        await asyncio.sleep(LOOK_S)
        look = await _look(bus, mirror, source)
        if look is None or not look.replicated:
            looks.clear()
            continue
        looks = [*looks[-STALLED_LOOKS:], look]
        if stalled(looks):
            log.warning("mirror_stands_still", stream=mirror, at=look.mirror, source_at=look.source)
            await _step_down(bus, mirror)
            looks.clear()
            await asyncio.sleep(PAUSE_S)


async def _look(bus: Bus, mirror: str, source: str) -> Look | None:
    try:
        own, other = await streams.told(bus, mirror), await streams.told(bus, source)
    except NotFoundError:
        return None
    return Look(own.state.last_seq, other.state.last_seq, bool(own.cluster and own.cluster.replicas))


async def _step_down(bus: Bus, stream: str) -> None:
    try:
        await bus.nc.request(f"{bus.api}.STREAM.LEADER.STEPDOWN.{stream}", timeout=2)
    except nats.errors.Error as error:  # the next look notices
        log.warning("mirror_leader_stays", stream=stream, error=repr(error))
        return
    _pushed.add(1)
