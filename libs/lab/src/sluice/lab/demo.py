"""The demo: who reaches whom before and after policies, and the rule that decides, packet by packet."""

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from sluice.lab import keep
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.probers import Result
from sluice.lab.reading import BadScenario, found
from sluice.lab.reasons import NO_REASON, judged, state_of, why
from sluice.lab.tales import Change, Tale, questions, read
from sluice.lab.walk import walked
from sluice.lab.world import World

Say = Callable[[str], object]

EXAMPLES = Path("examples")
STORIES = ("kubernetes", "namespace-isolation")
"""Folders of the examples that the demo tells when it is not told which."""

_MARKS = {"Allowed": "yes", "Dropped": ".", "Rejected": "rst"}


def tales(folders: Sequence[Path]) -> list[Tale]:
    """The tales of these folders, or of the examples.

    Raises:
        BadScenario: there are none.
    """
    if folders:
        return read(folders)
    for root in (Path.cwd(), *Path(__file__).parents):  # the examples lie in the source tree, not in a wheel
        if all((root / EXAMPLES / story).is_dir() for story in STORIES):
            return read([root / EXAMPLES / story for story in STORIES])
    raise BadScenario(["examples/: not found from here: name folders of manifests, or run it in the source tree"])


async def show(told: Sequence[Tale], say: Say, *, kept: bool) -> int:
    """Tell the tales in a lab; 1 if a packet did not do what policy says, else 0."""
    started = time.monotonic()
    say("Starting a lab: NATS, ingest, group-resolver, rule-compiler, and a node with Open vSwitch and node-ovs ...")
    async with await Lab.start() as lab:
        await lab.realised()
        say(f"The lab runs after {time.monotonic() - started:.1f} s.\n")
        teller = _Teller(say)
        for number, tale in enumerate(told, start=1):
            teller.begin(tale)
            await lab.use(tale.nodes)
            for change in (Change(title="", apply=tale.objects), *tale.changes):
                gone = [found(lab.world, name) for name in change.delete]
                await lab.change(apply=change.apply, delete=gone)
                say(f"{_title(change)} (in force after {await lab.realised() * 1000:.0f} ms)")
                asked = questions(lab.world)
                teller.explain(lab.world, asked, await lab.ask(asked))
            if not (kept and number == len(told)):
                await lab.clear()
        code = teller.end("packets did", time.monotonic() - started)
        if kept:
            say(f"The lab stays: `sluice lab exec --name {lab.name} POD -- COMMAND`")
            say(f"`sluice lab down --name {lab.name}` ends it.")
            await keep.stay(lab, code)
    return code


def offline(told: Sequence[Tale], say: Say) -> int:
    """Tell the tales without a switch: packets walk through the flows that one would get."""
    teller = _Teller(say)
    for tale in told:
        teller.begin(tale)
        world = World(tale.nodes, lambda: str(uuid.uuid4()), lambda: "")
        for change in (Change(title="", apply=tale.objects), *tale.changes):
            for name in change.delete:
                world.remove(found(world, name))
            for document in change.apply:
                world.put(document)
            say(_title(change))
            asked = questions(world)
            teller.explain(world, asked, walked(world, asked))
    return teller.end("walked packets did")


def _title(change: Change) -> str:
    return f"After: {change.title}" if change.title else "Before"


class _Teller:
    """Says what becomes of packets and why, and keeps the score: how many did what policy says."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.right = self.wrong = 0
        self._told: set[tuple[str, str]] = set()

    def begin(self, tale: Tale) -> None:
        self._say(f"=== {tale.name} ===")
        self._told.clear()

    def explain(self, world: World, asked: Sequence[Question], results: Sequence[Result]) -> None:
        """The matrix, then what decides: a line for each reason, and when it is news, packets that it decides about."""
        self._say(_matrix(asked, results))
        state = state_of(world.objects)
        reasons: dict[tuple[str, str], list[str]] = {}
        surprises = []
        for question, result in zip(asked, results, strict=True):
            given = judged(state, question)
            pair, words = f"{question.from_} -> {_target(question)}", why(given)
            if str(given.outcome) == result.result:
                self.right += 1
            else:
                self.wrong += 1
                surprises.append(f"  NOT AS POLICY SAYS: {pair}: {result}, but {given.outcome}: {words}")
            if words != NO_REASON:
                reasons.setdefault((str(given.outcome), words), []).append(pair)
        for (outcome, words), pairs in sorted(reasons.items()):
            self._say(f"  {outcome} {len(pairs)}: {words}")
            if (outcome, words) not in self._told:
                self._say(f"      {_shortened(pairs)}")
        self._told |= reasons.keys()
        for line in surprises:
            self._say(line)
        self._say("")

    def end(self, who: str, seconds: float | None = None) -> int:
        """The exit code."""
        took = f", {seconds:.1f} s in all" if seconds is not None else ""
        self._say(f"{self.right} of {self.right + self.wrong} {who} what policy says{took}.")
        return 1 if self.wrong else 0


def _shortened(pairs: Sequence[str], most: int = 4) -> str:
    more = f", and {len(pairs) - most} more" if len(pairs) > most else ""
    return ", ".join(pairs[:most]) + more


def _target(question: Question) -> str:
    if not question.port:
        return question.to
    return f"{question.to}:{question.port}" + ("" if question.protocol == "TCP" else f"/{question.protocol.lower()}")


def _matrix(asked: Sequence[Question], results: Sequence[Result]) -> str:
    """Who (rows) reaches what (columns)."""
    rows = sorted({question.from_ for question in asked})
    columns = list(dict.fromkeys(sorted((_target(question) for question in asked), key=_order)))
    cells = {
        (question.from_, _target(question)): _MARKS.get(result.result, "ERR")
        for question, result in zip(asked, results, strict=True)
    }
    width = max((len(row) for row in rows), default=0)
    lines = ["  " + " " * width + "  " + "  ".join(columns)]
    for row in rows:
        marks = (cells.get((row, column), "-").center(len(column)) for column in columns)
        lines.append(f"  {row:{width}}  " + "  ".join(marks))
    return "\n".join(line.rstrip() for line in lines)


def _order(column: str) -> tuple[str, int]:
    name, _, port = column.partition(":")
    return name, int(port.partition("/")[0] or 0)
