"""When new connections get another tag in the inspection engine.

The engine drops all packets with the ports of a connection that it rejected, so a later connection with the same ports
must have another tag. A client whose first packet beats the change of tag retransmits it a second later.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import structlog

from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.errand import Meter as MeterId
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.openflow.meters import Meter
from sluice.drivers.unixctl import CommandRefused, command
from sluice.services.node_ovs.errands import Errands

log = structlog.get_logger()

INTERVAL_S = 0.1
"""Minimum interval between two tags: with 4,094 of them none comes back before the engine has forgotten it, five
minutes after the last packet of a connection. Source: Suricata 7, flow-timeouts, tcp, established."""

NEWS_RATE = 20
"""Packets per second; they only signal that there was a reset."""


class Tagging:
    def __init__(self, change: Callable[[], None]) -> None:
        self._change = change
        self._next_s = 0.0
        self._waiting = False

    def take_part_in(self, errands: Errands) -> None:
        errands.do(
            Errand.L7_RESET, Meter(MeterId.L7_RESET, NEWS_RATE, NEWS_RATE), lambda *_: self.due(), lambda *_: None
        )

    def due(self) -> None:
        """The engine rejected a connection: change the tag, as soon as the minimum interval allows."""
        if self._waiting:
            return
        self._waiting = True
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time(), self._next_s), self._turn)

    def _turn(self) -> None:
        self._waiting = False
        self._next_s = asyncio.get_running_loop().time() + INTERVAL_S
        self._change()


async def tags_read(control: Path, bridge: str) -> int:
    """How many VLAN tags of a packet the switch reads; 1 if unknown."""
    try:
        said = await command(control, "dpif/show-dp-features", bridge)
    except (OSError, RpcGone, CommandRefused) as error:
        log.warning("datapath_features_unknown", error=str(error))
        return 1
    found = re.search(r"^Max VLAN headers: (\d+)$", said, re.MULTILINE)
    tags = 1 if found is None else int(found[1])
    if tags < 2:
        log.warning(
            "second_tag_not_read",
            why="other_config:vlan-limit was not 2 when ovs-vswitchd started",
            without="after a denied connection, another one from the same source port gets no answer for five minutes",
            do="if you use layer 7 rules, set it to 2 and restart ovs-vswitchd",
        )
    return tags
