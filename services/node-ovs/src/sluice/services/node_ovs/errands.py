"""What packets are handed over for, and how many are: the switch bounds them by a meter for each errand.

Who is rejected hears of it from here: the answer goes in at FORWARD as the answer of a known connection, so it finds
its way to whom the packet came from, be that a Pod of this node, another node or the world, and meets no policy.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import structlog

from sluice.dataplane.ovs.conntrack import MARK_INSPECTED
from sluice.dataplane.ovs.detour import AS_JUDGED
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.errand import Meter as MeterId
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, Resubmit, SetField
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC, Table
from sluice.dataplane.ovs.registers import ACCEPTED, FLAGS, SERVED
from sluice.dataplane.refusal import SentTo, refuse, sever
from sluice.drivers.openflow.errors import RequestRefused, SwitchGone
from sluice.drivers.openflow.meters import Meter, Metered
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.packets import PacketIn
from sluice.drivers.openflow.switch import Switch
from sluice.runtime.metrics import METRICS
from sluice.services.node_ovs.accounts import Account, AccountFile, Lost
from sluice.services.node_ovs.answers import Answers

log = structlog.get_logger()

COUNT_INTERVAL_S = 1.0
"""Between two looks at what meters dropped."""

AS_AN_ANSWER: Actions = (SetField(FLAGS, ACCEPTED, ACCEPTED), Resubmit(Table.FORWARD))

_MAC = VIRTUAL_MAC.to_bytes(6, "big")

_packets = METRICS.counter(
    "sluice_node_ovs_rejected_packets_total",
    "Packets that a rule rejects, by what their senders heard: answered; nothing, for such a packet is never answered "
    "(unanswerable), or there were too many in a second (over_rate) or at once (lost)",
    "heard",
)


class Errands:
    """Takes what one switch after the other hands over."""

    def __init__(
        self, *, reject_rate: int, packet_in_rate: int, dns_rate: int, answers: Answers, state_folder: Path
    ) -> None:
        self._answers = answers
        self._account = Account(AccountFile(state_folder / "dns.json"))
        """Of answers of DNS: those that come while nobody is there are counted as well."""

        self._meters = {
            Errand.REJECT: Meter(MeterId.REJECT, reject_rate, 2 * reject_rate),
            Errand.L7: Meter(MeterId.L7, reject_rate, 2 * reject_rate),
            Errand.DNS: Meter(MeterId.DNS, dns_rate, 2 * dns_rate),
        }
        self._said: dict[Errand, Callable[[int, int, int], None]] = dict.fromkeys(
            (Errand.REJECT, Errand.L7), _not_answered
        )
        self._all_meters = [*self._meters.values(), Meter(MeterId.AUDIT, packet_in_rate, 2 * packet_in_rate)]
        self._does: dict[int, Callable[[Switch, PacketIn], None]] = {
            Errand.REJECT: _answer,
            Errand.L7: _sever,
            Errand.DNS: answers.take,
        }
        self._heard: Counter[int] = Counter()
        """Packets that came, by errand, since meters were last looked at."""

    def do(
        self,
        errand: Errand,
        meter: Meter,
        take: Callable[[Switch, PacketIn], None],
        said: Callable[[int, int, int], None],
    ) -> None:
        """`take` is given what is handed over for this, and `said` hears what got lost: over the rate, on the way."""
        self._meters[errand] = meter
        self._all_meters.append(meter)
        self._does[errand], self._said[errand] = take, said

    async def prepare(self, switch: Switch) -> None:
        """The switch has the meters, and will hand packets over.

        Raises:
            RequestRefused, SwitchGone
        """
        unattended = self._account.close(await _metered(switch, self._meters[Errand.DNS]))
        self._answers.dropped("unattended", unattended)
        for meter in self._all_meters:
            await switch.set_meter(meter)
        await switch.hear_packets()

    async def ensure_meters(self, switch: Switch) -> None:
        """The switch still has the meters that flows name; before the flows, for bundles take none.

        Raises:
            RequestRefused, SwitchGone
        """
        for meter in self._all_meters:
            try:
                await switch.metered(meter.id)
            except RequestRefused:
                await switch.set_meter(meter)

    async def run(self, switch: Switch) -> None:
        """Do what packets are handed over for, until the connection ends."""
        counting = asyncio.create_task(self._count(switch), name="count_dropped")
        taking = asyncio.create_task(self._take(switch), name="take_packets")
        try:
            await asyncio.wait((counting, taking, switch.closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (counting, taking):
                task.cancel()
            ended = await asyncio.gather(counting, taking, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, SwitchGone):
                raise error

    async def _take(self, switch: Switch) -> None:
        while True:
            packet = await switch.packets.get()
            errand = packet.userdata[0] if packet.userdata else 0
            if errand in self._does:
                self._heard[errand] += 1
                self._does[errand](switch, packet)

    async def _count(self, switch: Switch) -> None:
        """Say what meters dropped, and what got lost between them and us, since the last look."""
        self._heard.clear()
        lost = {errand: Lost() for errand in self._meters if errand is not Errand.DNS}
        while True:
            await asyncio.sleep(COUNT_INTERVAL_S)
            for errand, meter in self._meters.items():
                counted, heard = await _metered(switch, meter), self._heard.pop(errand, 0)
                if errand is Errand.DNS:
                    self._account.heard = heard
                    over_rate, on_the_way = self._account.since_last(counted)
                    self._answers.dropped("over_rate", over_rate)
                    self._answers.dropped("lost", on_the_way)
                    self._account.save(0)
                    continue
                over_rate, on_the_way = lost[errand].since_last(counted, heard)
                if over_rate or on_the_way:
                    self._said[errand](over_rate, on_the_way, meter.packets_per_second)


def _not_answered(over_rate: int, lost: int, rate: int) -> None:
    _packets.add(over_rate, "over_rate")
    _packets.add(lost, "lost")
    log.warning("rejects_not_answered", over_rate=over_rate, lost=lost, reject_rate=rate)


def _answer(switch: Switch, packet: PacketIn) -> None:
    answer = refuse(packet.packet, _MAC, _sent_to(packet))
    if answer is None:
        _packets.add(1, "unanswerable")
    else:
        switch.send_packet(answer, AS_AN_ANSWER)
        _packets.add(1, "answered")


def _sever(switch: Switch, packet: PacketIn) -> None:
    """Both ends of a connection that the inspection engine reset hear of it, whatever they made of its own resets.

    So do those of one that may not be remembered: policy let the packet through, and the reset stands in its place.
    """
    known = any(term.field is Field.CT_MARK and term.value & MARK_INSPECTED for term in packet.metadata)
    onward = AS_JUDGED if known else AS_AN_ANSWER
    for reset, way in zip(sever(packet.packet, _MAC), (AS_AN_ANSWER, onward), strict=False):
        switch.send_packet(reset, way)


def _sent_to(packet: PacketIn) -> SentTo | None:
    """The Service that its sender asked, if the packet has its endpoint's address by now."""
    said = {term.field: term.value for term in packet.metadata}
    if not said.get(FLAGS, 0) & SERVED or Field.CT_TP_DST not in said:
        return None
    for field, size in ((Field.CT_NW_DST, 4), (Field.CT_IPV6_DST, 16)):
        if field in said:
            return SentTo(said[field].to_bytes(size, "big"), said[Field.CT_TP_DST])
    return None


async def _metered(switch: Switch, meter: Meter) -> Metered:
    """What the meter counted; nothing if somebody took it away: it is set again when the flows are."""
    try:
        return await switch.metered(meter.id)
    except (RequestRefused, Undecodable):
        return Metered(0, 0)
