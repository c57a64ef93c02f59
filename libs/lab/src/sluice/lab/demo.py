"""The demo: who reaches whom before and after policies are applied, and the rule that decides each packet."""

import textwrap
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from sluice.lab import keep
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.probers import Result
from sluice.lab.reading import BadScenario, found
from sluice.lab.reasons import judged, state_of, why
from sluice.lab.scenario import Expect
from sluice.lab.tales import Change, Tale, questions, read
from sluice.lab.trains import ask_again
from sluice.lab.walk import walked
from sluice.lab.world import World
from sluice.policy.verdict import Outcome

Say = Callable[[str], object]

EXAMPLES = Path("examples")
STORIES = ("kubernetes", "namespace-isolation", "antrea-policies")
"""Example folders that the demo shows by default."""

WIDTH = 110
"""Characters per line; terminals are often no wider."""

_Reason = tuple[str, str]
"""The fate of a packet, and what decides it, in words."""

_Judged = tuple[Question, str]
"""A question, and what decides it, in words."""

_EXPECT: dict[Outcome, Expect] = {
    Outcome.ALLOWED: "Allowed",
    Outcome.DROPPED: "Dropped",
    Outcome.REJECTED: "Rejected",
}

_MARKS = {"Allowed": "yes", "Dropped": ".", "Rejected": "rst"}


def tales(folders: Sequence[Path]) -> list[Tale]:
    """The tales in these folders, or in the examples.

    Raises:
        BadScenario: there are none.
    """
    if folders:
        return read(folders)
    for root in (Path.cwd(), *Path(__file__).parents):  # the examples are in the source tree, not in a wheel
        if all((root / EXAMPLES / story).is_dir() for story in STORIES):
            return read([root / EXAMPLES / story for story in STORIES])
    raise BadScenario(["examples/: not found from here: name folders of manifests, or run it in the source tree"])


async def show(told: Sequence[Tale], say: Say, *, kept: bool) -> int:
    """Play the tales in a lab; returns 1 if a packet did not do what policy says, else 0."""
    started = time.monotonic()
    nodes = list(dict.fromkeys(node for tale in told for node in tale.nodes))
    say(
        "Starting a lab: NATS, ingest, group-resolver and rule-compiler; and with Open vSwitch and node-ovs each, "
        f"{', '.join(nodes)} ..."
    )
    async with await Lab.start(nodes=nodes) as lab:
        await lab.realised()
        say(f"The lab runs after {time.monotonic() - started:.1f} s.\n")
        teller = _Teller(say)
        for number, tale in enumerate(told, start=1):
            await lab.use(tale.nodes)
            teller.begin(tale)
            for number_of_change, change in enumerate((Change(title="", apply=tale.objects), *tale.changes)):
                gone = [found(lab.world, name) for name in change.delete]
                await lab.change(apply=change.apply, delete=gone)
                took_ms = await lab.realised() * 1000
                asked = _judged(lab.world)
                results = await ask_again(lab, [question for question, _ in asked])
                teller.tell(lab.world, asked, results, _title(change, number_of_change), f"{took_ms:.0f} ms")
            teller.end_tale()
            if not (kept and number == len(told)):
                await lab.clear()
        code = teller.end("packets did", time.monotonic() - started)
        if kept:
            say(f"The lab stays: `sluice lab exec --name {lab.name} POD -- COMMAND`")
            say(f"`sluice lab down --name {lab.name}` ends it.")
            await keep.stay(lab, code)
    return code


def offline(told: Sequence[Tale], say: Say) -> int:
    """Play the tales without a switch: packets are traced through the flows that a switch would get."""
    teller = _Teller(say)
    for tale in told:
        teller.begin(tale)
        world = World(tale.nodes, lambda: str(uuid.uuid4()), lambda: "")
        for number, change in enumerate((Change(title="", apply=tale.objects), *tale.changes)):
            for name in change.delete:
                world.remove(found(world, name))
            for document in change.apply:
                world.put(document)
            asked = _judged(world)
            teller.tell(world, asked, walked(world, [question for question, _ in asked]), _title(change, number))
        teller.end_tale()
    return teller.end("walked packets did")


def _title(change: Change, number: int) -> str:
    return f"{number}. {change.title}" if number else "Before any policy"


class _Teller:
    """Prints the fate of packets and its reasons, and counts how many did what policy says."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.right = self.wrong = 0
        self._before: dict[str, str] = {}
        self._last: tuple[Sequence[Question], Sequence[Result], dict[_Reason, list[str]]] = (), (), {}

    def begin(self, tale: Tale) -> None:
        self._say(f"=== {tale.name}, on {' and '.join(tale.nodes)} ===")
        self._before = {}

    def tell(
        self, world: World, judged: Sequence[_Judged], results: Sequence[Result], title: str, took: str = ""
    ) -> None:
        """Print the matrix of the initial state, then the difference that each change makes."""
        asked = [question for question, _ in judged]
        reasons = self._compare(judged, results)
        now = {_pair(question): str(result) for question, result in zip(asked, results, strict=True)}
        self._say(title + (f" (in force after {took})" if took else ""))
        if not self._before:
            self._say(_matrix(asked, results))
            self._say("  From the rows to the columns: yes answered, . dropped, rst rejected, - not asked.")
            for node in world.nodes:
                here = [pod.pod for pod in world.pods().values() if pod.node == node]
                self._say(textwrap.fill(f"  On {node}: {', '.join(here)}", WIDTH, subsequent_indent="    "))
        else:
            changed = {pair for pair, result in now.items() if self._before.get(pair) != result}
            for (outcome, words), pairs in sorted(reasons.items()):
                if news := [pair for pair in pairs if pair in changed]:
                    self._say(f"  {outcome} now: {len(news)}, {words}")
                    self._say(f"      {_shortened(news)}")
            if not changed:
                self._say("  changes nothing for these Pods")
        self._before, self._last = now, (asked, results, reasons)

    def end_tale(self) -> None:
        """Print the final matrix, and everything that decides in it."""
        asked, results, reasons = self._last
        self._say("In the end")
        self._say(_matrix(asked, results))
        for (outcome, words), pairs in sorted(reasons.items()):
            self._say(f"  {len(pairs):4} {outcome:8} {words}")
        self._say("")

    def end(self, who: str, seconds: float | None = None) -> int:
        """Print the score and return the exit code."""
        took = f", {seconds:.1f} s in all" if seconds is not None else ""
        self._say(f"{self.right} of {self.right + self.wrong} {who} what policy says{took}.")
        return 1 if self.wrong else 0

    def _compare(self, asked: Sequence[_Judged], results: Sequence[Result]) -> dict[_Reason, list[str]]:
        """Packets grouped by what decides them; surprises are printed at once."""
        reasons: dict[_Reason, list[str]] = {}
        for (question, words), result in zip(asked, results, strict=True):
            reasons.setdefault((question.expect, words), []).append(_pair(question))
            if question.expect == result.result:
                self.right += 1
            else:
                self.wrong += 1
                self._say(f"  NOT AS POLICY SAYS: {_pair(question)}: {result}, but {question.expect}: {words}")
        return reasons


def _judged(world: World) -> list[_Judged]:
    """The questions to ask, expecting what policy says."""
    state = state_of(world.objects)
    asked = []
    for question in questions(world):
        given = judged(state, question)
        asked.append((replace(question, expect=_EXPECT[given.outcome]), why(given)))
    return asked


def _pair(question: Question) -> str:
    return f"{question.from_} -> {_target(question)}"


def _shortened(pairs: Sequence[str], most: int = 4) -> str:
    more = f", and {len(pairs) - most} more" if len(pairs) > most else ""
    return ", ".join(pairs[:most]) + more


def _target(question: Question) -> str:
    if not question.port:
        return question.to
    return f"{question.to}:{question.port}" + ("" if question.protocol == "TCP" else f"/{question.protocol.lower()}")


def _matrix(asked: Sequence[Question], results: Sequence[Result]) -> str:
    """Who (rows) reaches what (columns). If there are many columns they are numbered, with a legend below."""
    rows = sorted({question.from_ for question in asked})
    columns = list(dict.fromkeys(sorted((_target(question) for question in asked), key=_order)))
    cells = {
        (question.from_, _target(question)): _MARKS.get(result.result, "ERR")
        for question, result in zip(asked, results, strict=True)
    }
    width = max((len(row) for row in rows), default=0)
    heads = columns
    legend: list[str] = []
    if width + sum(len(column) + 2 for column in columns) > WIDTH:
        heads = [f"({number})".center(4) for number in range(1, len(columns) + 1)]
        words = "   ".join(
            f"{head.strip()}\N{NO-BREAK SPACE}{column}" for head, column in zip(heads, columns, strict=True)
        )
        legend = [f"  {line}" for line in textwrap.wrap(words, WIDTH - 2, break_on_hyphens=False)]
    lines = ["  " + " " * width + "  " + "  ".join(heads)]
    for row in rows:
        marks = (cells.get((row, column), "-").center(len(head)) for column, head in zip(columns, heads, strict=True))
        lines.append(f"  {row:{width}}  " + "  ".join(marks))
    return "\n".join([*(line.rstrip() for line in lines), *legend])


def _order(column: str) -> tuple[str, int]:
    name, _, port = column.partition(":")
    return name, int(port.partition("/")[0] or 0)
