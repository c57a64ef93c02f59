"""Why packets are handed over to us (errands), and how many: the switch limits each errand by a meter.

Rejected senders are answered from here. The answer enters at FORWARD as a reply of an accepted connection, so it finds
its way back to the sender, be that a Pod of this node, another node or the outside world, and meets no policy.
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
"""Interval between reads of the meters' drop counters."""

AS_AN_ANSWER: Actions = (SetField(FLAGS, ACCEPTED, ACCEPTED), Resubmit(Table.FORWARD))

_MAC = VIRTUAL_MAC.to_bytes(6, "big")

_packets = METRICS.counter(
    "sluice_node_ovs_rejected_packets_total",
    "Rejected packets by outcome: answered; not answered, because such packets never are (unanswerable), there were "
    "too many in a second (over_rate), or too many at once (lost)",
    "heard",
)


class Errands:
    """Takes the packets that are handed over, from one switch connection after another."""

    def __init__(
        self, *, reject_rate: int, packet_in_rate: int, dns_rate: int, answers: Answers, state_folder: Path
    ) -> None:
        self._answers = answers
        self._account = Account(AccountFile(state_folder / "dns.json"))
        """Accounts for DNS responses, including those that arrive while we are not running."""

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
        """Packets received since the meters were last read, by errand."""

    def do(
        self,
        errand: Errand,
        meter: Meter,
        take: Callable[[Switch, PacketIn], None],
        said: Callable[[int, int, int], None],
    ) -> None:
        """Register an errand.

        Args:
            take: called with each packet.
            said: called with the packets dropped over the rate, those lost in transit, and the rate.
        """
        self._meters[errand] = meter
        self._all_meters.append(meter)
        self._does[errand], self._said[errand] = take, said

    async def prepare(self, switch: Switch) -> None:
        """Set the meters in the switch, and ask for packets.

        Raises:
            RequestRefused, SwitchGone
        """
        unattended = self._account.close(await _metered(switch, self._meters[Errand.DNS]))
        self._answers.dropped("unattended", unattended)
        for meter in self._all_meters:
            await switch.set_meter(meter)
        await switch.hear_packets()

    async def ensure_meters(self, switch: Switch) -> None:
        """Restore missing meters. Must run before flows that use them are put, because bundles cannot contain meters.

        Raises:
            RequestRefused, SwitchGone
        """
        for meter in self._all_meters:
            try:
                await switch.metered(meter.id)
            except RequestRefused:
                await switch.set_meter(meter)

    async def run(self, switch: Switch) -> None:
        """Handle the packets that are handed over until the connection ends."""
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
        """Report what meters dropped, and what was lost between them and us, since the last look."""
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
    """Reset both ends of a connection that the inspection engine reset, however they took the engine's resets.

    Also for a packet whose connection must not be committed: policy let it through, and the reset takes its place.
    """
    known = any(term.field is Field.CT_MARK and term.value & MARK_INSPECTED for term in packet.metadata)
    onward = AS_JUDGED if known else AS_AN_ANSWER
    for reset, way in zip(sever(packet.packet, _MAC), (AS_AN_ANSWER, onward), strict=False):
        switch.send_packet(reset, way)


def _sent_to(packet: PacketIn) -> SentTo | None:
    """The Service that the sender addressed, if the packet was already rewritten to its endpoint."""
    said = {term.field: term.value for term in packet.metadata}
    if not said.get(FLAGS, 0) & SERVED or Field.CT_TP_DST not in said:
        return None
    for field, size in ((Field.CT_NW_DST, 4), (Field.CT_IPV6_DST, 16)):
        if field in said:
            return SentTo(said[field].to_bytes(size, "big"), said[Field.CT_TP_DST])
    return None


async def _metered(switch: Switch, meter: Meter) -> Metered:
    """The meter's counters; zero if somebody removed the meter: it is restored along with the flows."""
    try:
        return await switch.metered(meter.id)
    except (RequestRefused, Undecodable):
        return Metered(0, 0)
