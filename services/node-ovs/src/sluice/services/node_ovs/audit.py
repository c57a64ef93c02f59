"""The audit log: turns copies of packets into lines of np.log, and counts and reports those that get no line.

Every packet that hit the meter is accounted for: it has a line of its own, is counted in the line of a similar packet,
or is part of a line about losses. Copies arrive on a separate OpenFlow connection, and lines are written off the event
loop, so neither policy nor packets wait for the log.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from time import time_ns

import structlog

from sluice.dataplane.audit.attribution import What
from sluice.dataplane.audit.book import Book
from sluice.dataplane.audit.seeing import WINDOW_US, Duplicates, Repeated, is_repeatable, see
from sluice.dataplane.frame import read
from sluice.dataplane.ovs.audit import LISTENER, RULE_ID
from sluice.dataplane.ovs.errand import Meter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.registers import OUT_PORT
from sluice.drivers.openflow.errors import RequestRefused, SwitchGone
from sluice.drivers.openflow.meters import Metered
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.packets import PacketIn
from sluice.drivers.openflow.switch import Switch
from sluice.runtime.logfile import Limits
from sluice.runtime.metrics import METRICS
from sluice.services.node_ovs.accounts import Account, AccountFile
from sluice.services.node_ovs.auditfiles import AuditFiles

log = structlog.get_logger()

WRITE_INTERVAL_S = 0.1
LOOK_INTERVAL_S = 0.2
"""Interval between reads of the meter while it is counting."""

COUNT_INTERVAL_S = 1.0
"""Interval between reports of losses; the lines say `in 1s`."""

TIDY_INTERVAL_S = 60.0
RETRY_S = 0.2
AT_ONCE = 100
"""Packets taken before yielding to other tasks."""

LINES_KEPT = 100_000
"""Lines that may wait for a slow disk; any more are lost, and reported as such."""

EARLY_KEPT = 10_000
"""Packets that may arrive after a restart before the rules are known."""

_packets = METRICS.counter(
    "sluice_node_ovs_audit_packets_total",
    "Packets logged by rules, by outcome: written; duplicate, of one that has a line; or why they are missing from the "
    "log: over-rate, not-handed-over, not-running, not-written, not-known, not-ip",
    "became",
)


class Audit:
    def __init__(self, folder: Path, state_folder: Path, limits: Limits) -> None:
        self._book = Book()
        self._files = AuditFiles(folder, limits, self._book)
        self._account = Account(AccountFile(state_folder / "audit.json"))
        self._pods: dict[int, str] = {}
        """Pods by OpenFlow port; a removed port stays until the number is reused."""

        self._told = False
        """`attribute` was called, so the rules are known."""

        self._early: list[tuple[PacketIn, int]] = []
        self._duplicates = Duplicates()
        self._lines: list[Repeated] = []
        self._last_us = 0
        self._lost: Counter[str] = Counter()
        self._switch: Switch | None = None

    # --------------------------------------------------------------------------------------------------------- inputs

    async def attribute(self, said: Sequence[What]) -> None:
        """Write to attribution.jsonl before the switch changes. Never raises: a log failure costs no packets."""
        for what in said:
            self._book.take(what)
        await self._files.say(said)
        self._told = True
        early, self._early = self._early, []
        for packet, at_us in early:
            self._see(packet, at_us)

    def ports_are(self, ports: Iterable[LocalPort]) -> None:
        """These ports belong to these Pods now; other ports are unchanged."""
        self._pods |= {port.ofport: port.pod for port in ports}

    async def before_meter_is_set(self, switch: Switch) -> None:
        """Close the account of the meter's counts so far; the meter is about to be reset."""
        counted = await _metered(switch)
        self._lose("not-running" if self._account.is_new else "not-handed-over", self._account.close(counted))

    # --------------------------------------------------------------------------------------------------------- running

    async def run(self, socket: Path) -> None:
        """Run until cancelled, reconnecting to the switch as needed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear(socket), name="hear_copies")
                tasks.create_task(self._count(), name="count_copies")
                tasks.create_task(self._write(), name="write_lines")
                tasks.create_task(self._tidy(), name="tidy_logs")
        finally:
            self._lines += self._duplicates.rest()
            lines, losses = self._due(time_ns() // 1_000)
            self._written(lines, losses, self._files.end(lines, losses))
            self._save()

    async def _hear(self, socket: Path) -> None:
        while True:
            try:
                switch = await Switch.connect(socket)
                try:
                    await switch.hear_packets(LISTENER)
                    self._switch = switch
                    await self._take_all(switch)
                finally:
                    self._switch = None
                    switch.close()
            except (OSError, SwitchGone, RequestRefused) as error:
                log.debug("audit_not_connected", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _take_all(self, switch: Switch) -> None:
        packets = switch.packets
        while True:
            getting = asyncio.ensure_future(packets.get())
            await asyncio.wait((getting, switch.closed), return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                return
            self.take(getting.result())
            for _ in range(min(AT_ONCE, packets.qsize())):
                self.take(packets.get_nowait())
            await asyncio.sleep(0)

    def take(self, packet: PacketIn) -> None:
        """Take a copy that was handed over."""
        self._account.heard += 1
        self._last_us = at_us = max(self._now_us(), self._last_us + 1)  # a line's microsecond is its identity
        if self._told:
            self._see(packet, at_us)
        elif len(self._early) < EARLY_KEPT:
            self._early.append((packet, at_us))
        else:
            self._lose("not-known", 1)

    def _see(self, packet: PacketIn, at_us: int) -> None:
        said = {term.field: term.value for term in packet.metadata}
        number = said.get(RULE_ID, 0)
        rule = self._book.rule(number)
        frame = read(packet.packet)
        if rule is None or frame is None:
            self._lose("not-known" if rule is None else "not-ip", 1)
            return
        port = said.get(OUT_PORT if rule.direction == "Ingress" else Field.IN_PORT, 0)
        seen = see(number, self._pods.get(port, ""), frame)
        untracked = not said.get(Field.CT_STATE)  # packets to many have no conntrack entry: none is the first
        if is_repeatable(rule) or untracked:
            self._duplicates.take(seen, rule, at_us)
        elif len(self._lines) < LINES_KEPT:
            self._lines.append(Repeated(seen, rule, at_us, at_us, 1))
        else:
            self._lose("not-written", 1)

    def _now_us(self) -> int:
        """Microseconds since 1970. If the clock was set back, lines waiting for their window are due at once."""
        now_us = time_ns() // 1_000
        if now_us + WINDOW_US < self._last_us:
            self._lines += self._duplicates.rest()
            self._last_us = now_us
        return now_us

    def _lose(self, reason: str, packets: int) -> None:
        if packets > 0:
            self._lost[reason] += packets
            _packets.add(packets, reason)

    async def _count(self) -> None:
        """Count what the meter dropped, and what was lost between it and us."""
        loop = asyncio.get_running_loop()
        settled, busy = loop.time(), False
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S if busy else COUNT_INTERVAL_S)
            switch = self._switch
            if switch is None:
                continue
            try:
                counted = await _metered(switch)
            except SwitchGone:
                continue
            while not switch.packets.empty():  # received before the reply, so not lost
                self.take(switch.packets.get_nowait())
            busy = self._account.look(counted)
            if loop.time() >= settled + COUNT_INTERVAL_S:
                settled = loop.time()
                over_rate, on_the_way = self._account.settle()
                self._lose("over-rate", over_rate)
                self._lose("not-handed-over", on_the_way)

    # --------------------------------------------------------------------------------------------------------- writing

    async def _write(self) -> None:
        counting = 0
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            counting = (counting + 1) % round(COUNT_INTERVAL_S / WRITE_INTERVAL_S)
            lines, losses = self._due(self._now_us(), losses=counting == 0)
            if lines or losses:
                self._written(lines, losses, await self._files.write(lines, losses))
            self._save()

    async def _tidy(self) -> None:
        while True:
            await self._files.tidy()
            await asyncio.sleep(TIDY_INTERVAL_S)

    def _due(self, now_us: int, *, losses: bool = True) -> tuple[list[Repeated], Mapping[str, int]]:
        """Remove and return what is to be written now."""
        lines = sorted((*self._lines, *self._duplicates.due(now_us)), key=attrgetter("first_us"))
        self._lines = []
        if not losses:
            return lines, {}
        lost, self._lost = self._lost, Counter()
        return lines, lost

    def _written(self, lines: Sequence[Repeated], losses: Mapping[str, int], error: OSError | None) -> None:
        packets = sum(line.packets for line in lines)
        if error is None:
            _packets.add(len(lines), "written")
            _packets.add(packets - len(lines), "duplicate")
            return
        self._lost.update(losses)
        self._lose("not-written", packets)

    def _save(self) -> None:
        waiting = len(self._duplicates) + len(self._lines) + len(self._early) + self._lost.total()
        try:
            self._account.save(waiting)
        except OSError as error:
            log.warning("audit_account_not_kept", error=str(error))


async def _metered(switch: Switch) -> Metered | None:
    """Return the meter's counters; None if there is no meter."""
    try:
        return await switch.metered(Meter.AUDIT)
    except (RequestRefused, Undecodable):
        return None
