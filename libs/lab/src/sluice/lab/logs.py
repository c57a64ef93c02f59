"""What the nodes logged to np.log since a step began, and whether it matches the scenario."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from time import time_ns

from sluice.contracts.audit import FlowDecision
from sluice.contracts.ids import NodeName
from sluice.dataplane.audit import np_line
from sluice.dataplane.audit.np_line import NotALine
from sluice.lab.results import Check
from sluice.lab.scenario import Logged

WRITTEN_S = 10.0
"""How long a line may take: denials are held back for a second, the rest allows for the machine's load."""

SURPLUS_S = 1.5
"""How long to watch for lines that must be absent: denials are held back for a second."""

POLL_S = 0.05


class Logs:
    def __init__(self, files: Mapping[NodeName, Sequence[Path]]) -> None:
        self._files = [(node, file) for node, of_node in files.items() for file in of_node]
        self._since_us = time_ns() // 1_000
        self._read = {file: file.stat().st_size if file.exists() else 0 for _, file in self._files}

    async def checks(self, step: str, wanted: Sequence[Logged]) -> list[Check]:
        """The result of each expectation, once all are met or the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WRITTEN_S
        while loop.time() < deadline and not self._all_hold(wanted):  # noqa: ASYNC110  # files have no such event
            await asyncio.sleep(POLL_S)
        if any(each.absent or each.packets is not None for each in wanted):
            await asyncio.sleep(SURPLUS_S)
        return [self._check(step, each) for each in wanted]

    def _check(self, step: str, wanted: Logged) -> Check:
        packets = self._packets(wanted)
        least = "none" if wanted.absent else "some" if wanted.packets is None else str(wanted.packets)
        holds = _holds(wanted, packets)
        return Check(
            step=step,
            kind="log",
            from_=wanted.on or "any node",
            to="np.log",
            what=wanted.line,
            expect=f"{least} logged",
            got=f"{packets} logged",
            ok=holds,
            why="" if holds else "; ".join(line for _, line in self._lines()) or "nothing is logged",
        )

    def _all_hold(self, wanted: Sequence[Logged]) -> bool:
        return all(_holds(each, self._packets(each)) for each in wanted)

    def _packets(self, wanted: Logged) -> int:
        """The number of packets in all matching lines."""
        return sum(
            decision.packets
            for node, decision in _decisions(self._lines())
            if wanted.on in ("", node) and decision.at_us >= self._since_us and _matches(wanted.line, decision)
        )

    def _lines(self) -> Iterator[tuple[NodeName, str]]:
        for node, file in self._files:
            if file.exists():
                written = file.read_bytes()[self._read[file] :].decode()
                yield from ((node, line) for line in written.splitlines())


def _holds(wanted: Logged, packets: int) -> bool:
    if wanted.packets is not None:
        return packets == wanted.packets
    return (packets == 0) == wanted.absent


def _decisions(lines: Iterable[tuple[NodeName, str]]) -> Iterator[tuple[NodeName, FlowDecision]]:
    for node, line in lines:
        try:
            decision = np_line.read(line)
        except NotALine:
            continue  # shown with the others
        if isinstance(decision, FlowDecision):
            yield node, decision


def _matches(pattern: str, decision: FlowDecision) -> bool:
    words = np_line.fields(decision)
    return all(fnmatchcase(word, each) for word, each in zip(words, pattern.split(), strict=True))
