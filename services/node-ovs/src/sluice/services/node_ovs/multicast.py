"""The shell of multicast: IGMP reports that the switch hands over, queries to Pods, and messages to other nodes."""

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv4Address
from time import monotonic

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.multicast import JoinedGroups
from sluice.dataplane import igmp
from sluice.dataplane.addresses import NotAnAddress
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.errand import Meter as MeterId
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Output
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.drivers.openflow.meters import Meter
from sluice.drivers.openflow.packets import PacketIn
from sluice.drivers.openflow.switch import Switch
from sluice.runtime.bus import Bus
from sluice.runtime.metrics import METRICS
from sluice.services.node_ovs.errands import Errands
from sluice.services.node_ovs.joined import Joined

log = structlog.get_logger()

_lost = METRICS.counter(
    "sluice_node_ovs_igmp_lost_total", "IGMP messages that were not read because there were too many"
)

ROBUSTNESS = 2
"""The robustness variable: this many reports in a row may be lost. Source: RFC 3376 section 8.1."""

ANSWER_S = 10.0
"""Maximum response time of a query. Source: RFC 3376 section 8.3."""

AT_ONCE_S = 1.0
"""Maximum response time of a query to Pods that we have no reports of yet."""

QUERIER = int(IPv4Address("169.254.1.1"))
"""The address that Pods know as their gateway."""

FLURRY_S = 0.1
"""Joins within this time are published together."""


class Multicast:
    """Feeds the fold.

    Args:
        interval_s: between two queries.
        told: called when the fold has taken in something.
    """

    def __init__(self, bus: Bus, node: NodeName, joined: Joined, interval_s: float, told: Callable[[], None]) -> None:
        self._bus, self._node, self._joined, self._interval_s, self._told = bus, node, joined, interval_s, told
        self._switch: Switch | None = None
        self._news = asyncio.Event()
        self._said: tuple[Address, ...] | None = None

    def take_part_in(self, errands: Errands, rate: int) -> None:
        """Register the errand; `rate` limits the IGMP messages handed over per second."""
        errands.do(Errand.IGMP, Meter(MeterId.IGMP, rate, 2 * rate), self.take, _not_read)

    def take(self, _: Switch, packet: PacketIn) -> None:
        """Take an IGMP message from a Pod."""
        came = next((term.value for term in packet.metadata if term.field is Field.IN_PORT), 0)
        if reports := igmp.reports(packet.packet):
            self._joined.hear(came, reports, monotonic() + ROBUSTNESS * self._interval_s + ANSWER_S)
            self._told()

    def query(self, switch: Switch, ofports: Iterable[int] | None = None, answer_within_s: float = AT_ONCE_S) -> None:
        """Query these Pods, or all, for the groups they have joined, as far as policy allows."""
        askable = self._joined.askable()
        frame = igmp.query(VIRTUAL_MAC, QUERIER, answer_within_s)
        for ofport in askable if ofports is None else [port for port in ofports if port in askable]:
            switch.send_packet(frame, (Output(ofport),))

    def look(self, switch: Switch | None) -> None:
        """Check whether the fold has something new to publish; a new switch gets queries to all Pods."""
        if switch is not None and switch is not self._switch:
            self.query(switch)
        self._switch = switch
        if self._joined.groups != self._said or self._joined.asks:
            self._news.set()

    async def run(self) -> None:
        """Query Pods and publish to other nodes, until cancelled."""
        subscription = await self._bus.nc.subscribe(subjects.live(subjects.MULTICASTS), cb=self._heard)
        forget = self._bus.on_reconnect(self._news.set)
        try:
            await self._say(asks=True)
            loop = asyncio.get_running_loop()
            next_s = loop.time() + self._interval_s
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, next_s - loop.time())):
                        await self._news.wait()
                        await asyncio.sleep(FLURRY_S)
                self._news.clear()
                if loop.time() >= next_s:
                    next_s = loop.time() + self._interval_s
                    if self._switch is not None:
                        self.query(self._switch, answer_within_s=ANSWER_S)
                if self._joined.asks and self._switch is not None:
                    self.query(self._switch, self._joined.to_ask())
                    await asyncio.sleep(AT_ONCE_S)  # policies may change continuously
                await self._say()
        finally:
            forget()
            if self._bus.nc.is_connected:
                await subscription.unsubscribe()

    async def _say(self, *, asks: bool = False) -> None:
        self._said = self._joined.groups
        body = codec.encode(JoinedGroups(node=self._node, groups=self._said, asks=asks))
        try:
            await self._bus.nc.publish(subjects.multicast(self._node), body)
        except NatsError as error:
            log.warning("multicast_not_told", error=str(error), again_s=self._interval_s)

    async def _heard(self, message: Msg) -> None:
        try:
            told = codec.decode(message.data, JoinedGroups)
            if told.node == self._node:
                return
            if message.subject != subjects.live(subjects.multicast(told.node)):  # the bus vouches for the subject only
                raise codec.Undecodable(f"it speaks for {told.node}")
            self._joined.heard_of(told.node, told.groups, monotonic() + (ROBUSTNESS + 1) * self._interval_s)
        except (codec.Undecodable, NotAnAddress) as error:
            log.warning("multicast_not_understood", subject=message.subject, error=str(error))
            return
        self._told()
        if told.asks:
            await asyncio.sleep(random.uniform(0, FLURRY_S))
            self._news.set()


def _not_read(over_rate: int, lost: int, rate: int) -> None:
    _lost.add(over_rate + lost)
    log.warning("igmp_not_read", over_rate=over_rate, lost=lost, igmp_rate=rate)
