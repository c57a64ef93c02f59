"""The audit log of policies on Nodes: turns copies of packets into lines, and reports those that get no line.

The kernel counts all packets of a logging rule, but hands over only as many as its limit allows. So packets that are
counted but have not arrived by the next reading have no line. Lines are written off the event loop, and no packet waits
for them.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import time_ns

import structlog

from sluice.contracts.audit import Loss
from sluice.contracts.ids import NodeName
from sluice.dataplane.audit import np_line
from sluice.dataplane.audit.attribution import Deciding
from sluice.dataplane.audit.seeing import Duplicates, Repeated, decision, is_repeatable
from sluice.dataplane.host.audit import deciding, seen
from sluice.dataplane.host.engine import Placed
from sluice.dataplane.host.words import LOG_BYTES, LOG_GROUP
from sluice.drivers.nftables.copies import Copies, Copy, NotHeard
from sluice.runtime.logfile import Limits, LogFile
from sluice.runtime.metrics import METRICS

log = structlog.get_logger()

NAME = "np.host.log"
"""Next to np.log, which belongs to node-ovs: one writer per file. Readers of `np*.log` get both."""

WRITE_INTERVAL_S = 0.1
TIDY_INTERVAL_S = 60.0
RETRY_S = 5.0
KEPT_ENDED = 10_000
"""Ended rules that are remembered, because packets of them may still be in flight."""

_lost = METRICS.counter(
    "sluice_node_host_audit_lost_total", "Packets logged by rules on Nodes that are missing from the log", "why"
)


class Audit:
    def __init__(self, node: NodeName, netns: Path | None, folder: Path, limits: Limits) -> None:
        self._node, self._netns = node, netns
        self._file = LogFile(folder / NAME, limits)
        self._rules: dict[str, Deciding] = {}
        self._duplicates = Duplicates()
        self._lines: list[Repeated] = []
        self._losses: list[Loss] = []
        self._heard: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        self._given_up: dict[str, int] = {}
        self._last_us = 0

    def rules_are(self, rules: Mapping[str, Placed]) -> None:
        """Take in the rules in force, or about to be."""
        for name, placed in rules.items():
            if placed.rule.logs:
                self._rules.pop(name, None)
                self._rules[name] = deciding(name, placed)
        while len(self._rules) > len(rules) + KEPT_ENDED:
            del self._rules[next(iter(self._rules))]

    def counted(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Take in the kernel's counters; packets counted by the previous reading that have not arrived are lost."""
        lost = 0
        for name in self._rules.keys() & counts.keys():
            if name not in self._heard:  # the starting point of the account
                self._heard[name] = self._counted[name] = counts[name][0]
                self._given_up[name] = 0
                continue
            missing = self._counted[name] - self._heard[name] - self._given_up[name]
            if missing > 0:
                self._given_up[name] += missing
                lost += missing
            self._counted[name] = counts[name][0]
        for gone in self._heard.keys() - counts.keys():
            for table in (self._heard, self._counted, self._given_up):
                table.pop(gone, None)
        if lost:
            _lost.add(lost, "over-rate")
            self._losses.append(Loss(at_us=time_ns() // 1_000, lines=lost, reason="over-rate"))

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear(), name="hear_copies")
                tasks.create_task(self._write(), name="write_lines")
                tasks.create_task(self._tidy(), name="tidy_logs")
        finally:
            self._lines += self._duplicates.rest()
            self._put(self._due(time_ns() // 1_000))
            self._file.close()

    async def _hear(self) -> None:
        while True:
            try:
                copies = Copies(self._netns, LOG_GROUP, LOG_BYTES)
            except (NotHeard, OSError) as error:
                log.error("copies_not_heard", error=str(error), instead="decisions about Nodes are not logged")
                await asyncio.sleep(RETRY_S)
                continue
            try:
                while True:
                    for copy in await copies.next():
                        self.take(copy, time_ns() // 1_000)
            finally:
                copies.close()

    def take(self, copy: Copy, now_us: int) -> None:
        """Take a copy that was handed over."""
        rule = self._rules.get(copy.prefix)
        told = seen(rule, self._node, copy.packet) if rule is not None else None
        self._heard[copy.prefix] = self._heard.get(copy.prefix, 0) + 1
        if rule is None or told is None:
            _lost.add(1, "not-known")
            return
        self._last_us = at_us = max(now_us, self._last_us + 1)  # a line's microsecond is its identity
        if is_repeatable(rule):
            self._duplicates.take(told, rule, at_us)
        else:
            self._lines.append(Repeated(told, rule, at_us, at_us, 1))

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            due = self._due(time_ns() // 1_000)
            if due:
                await asyncio.to_thread(self._put, due)

    async def _tidy(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._file.tidy)
            except OSError as error:
                log.warning("log_not_tidied", file=str(self._file.path), error=str(error))
            await asyncio.sleep(TIDY_INTERVAL_S)

    def _due(self, now_us: int) -> list[str]:
        lines = sorted((*self._lines, *self._duplicates.due(now_us)), key=lambda line: line.first_us)
        losses, self._lines, self._losses = self._losses, [], []
        return [np_line.write(decision(line)) for line in lines] + [np_line.write(loss) for loss in losses]

    def _put(self, lines: list[str]) -> None:
        try:
            if lines:
                self._file.append("".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            _lost.add(len(lines), "not-written")
            log.error("audit_log_not_written", file=str(self._file.path), error=str(error))
