"""Ends connections that a policy has come to deny, if it says so: asks the switch about each one."""

from collections.abc import Callable
from pathlib import Path

import structlog

from sluice.contracts.ids import Address
from sluice.contracts.tracing import Traced
from sluice.dataplane.ovs import ending, tracing
from sluice.dataplane.ovs.conntrack import CT_ZONE, MARK_LET_IN
from sluice.dataplane.ovs.ending import PORTS, Known
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.tracing import NotTraceable
from sluice.drivers.conntrack.entries import Entry, Tuple
from sluice.drivers.conntrack.tracker import Tracker
from sluice.drivers.unixctl import CommandRefused, command
from sluice.runtime.metrics import METRICS
from sluice.services.node_ovs.programmer import Programmer

log = structlog.get_logger()

_ended = METRICS.counter(
    "sluice_node_ovs_ended_connections_total",
    "Established connections that were ended because a policy denies them now",
)


class Ender:
    def __init__(self, bridge: str, control: Callable[[], Path], facts: Programmer) -> None:
        self._bridge, self._control, self._facts = bridge, control, facts

    async def run(self) -> None:
        """Delete all conntrack entries that were let in and are now denied by a policy that ends connections.

        Raises:
            CommandRefused, OSError, RpcGone: see unixctl.
            NotForgotten: some entries are still there.
        """
        tracker = Tracker(self._control())
        asked: dict[Known, str] = {}
        gone = []
        for entry in await tracker.entries(CT_ZONE):
            known = _known(entry)
            if known is not None and self._facts.ending.concerns(known):
                if known not in asked:
                    asked[known] = await self._denied_by(known)
                if asked[known]:
                    gone.append(entry)
        if gone:
            await tracker.forget(CT_ZONE, gone)
            _ended.add(len(gone))
            log.info(
                "connections_ended", count=len(gone), asked=len(asked), policies=sorted(set(asked.values()) - {""})
            )

    async def _denied_by(self, known: Known) -> str:
        """Return the connection-ending policy that denies it, or ""; "unknown" if the switch cannot tell."""
        port = self._facts.port_of(known.source)
        uplinks = self._facts.routing.uplinks
        gateway = uplinks.gateway
        host = gateway is not None and known.source in gateway.addresses
        in_port = port or (gateway.ofport if gateway else uplinks.tunnel or LOCAL)
        at: Table | None = Table.NODE_PORT
        while at is not None:  # a policy that keeps connections hides none that ends them
            words = ending.question(known, in_port, from_host=host, from_pod=bool(port), at=at)
            try:
                said = await command(self._control(), "ofproto/trace-packet-out", self._bridge, *words)
                way = tracing.read(said, _traced(known), in_port, self._bridge)
            except (NotTraceable, CommandRefused) as error:
                log.error("connection_not_judged", connection=str(known), error=str(error), instead="it is ended")
                return "unknown"
            found = ending.denier(way.met)
            by = None if found is None else self._facts.rule_key(found.number)
            if by is not None and self._facts.ending.deny(by, known):
                return by.unit
            at = None if found is None else found.then
        return ""


LOCAL = 0xFFFE
"""The bridge's own port, used if no rule is about the sender's port. Source: OpenFlow 1.5.1, OFPP_LOCAL, as 16 bits."""


def _known(entry: Entry) -> Known | None:
    """The connection as policy saw it; None if it was not let in, or cannot be ended."""
    asks, answers = entry.original, entry.reply
    if not entry.mark & MARK_LET_IN or entry.protocol not in PORTS or not _has_ports(asks, answers):
        return None
    return Known(
        entry.protocol,
        asks.source,
        asks.source_port or 0,
        Address(answers.source),
        answers.source_port or 0,
        entry.label,
    )


def _has_ports(*tuples: Tuple) -> bool:
    return all(one.source_port is not None and one.destination_port is not None for one in tuples)


def _traced(known: Known) -> Traced:
    return Traced(
        source=known.source,
        destination=known.destination,
        protocol="TCP" if known.protocol == "tcp" else "UDP",
        port=known.destination_port,
        source_port=known.source_port,
    )
