"""Plays stories in a lab: apply objects, send packets, leave nothing for the next story."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from pathlib import Path

from sluice.contracts import codec
from sluice.kube.manifest import Parsed
from sluice.lab import checks, offline, trains
from sluice.lab.capture.counting import title
from sluice.lab.ends import ends_of
from sluice.lab.equipment import NOTHING
from sluice.lab.externals import CannotAnswer
from sluice.lab.forwarders import NotAtWork
from sluice.lab.lab import Lab
from sluice.lab.leftovers import forget, ids_left, leftovers
from sluice.lab.logs import Logs
from sluice.lab.probers import ProberGone, Result
from sluice.lab.reading import Story, Told, found
from sluice.lab.reasons import judged, state_of, why
from sluice.lab.results import Check, Outcome
from sluice.lab.scenario import Connection, Denial, seconds
from sluice.lab.waiting import NotRealised

_LAST = "zz-denied"
"""Prefix of files that must be refused. It sorts last, since of two files that claim the same thing the first by name
wins, which must be the one that existed before."""


Look = Callable[[Lab], Awaitable[list[str]]]
"""Returns what is wrong with a lab."""


async def run(lab: Lab, story: Story, *, keep: bool = False, last: bool = True, look: Look | None = None) -> Outcome:
    """Play the story. Afterwards the lab is empty (unless asked to keep it), or the outcome says what is left.

    Checking for leftover rule ids takes a second, so only the last of several stories does it.

    Args:
        look: called before the objects are deleted.
    """
    started = time.monotonic()
    player = _Player(lab, story)
    errors: list[str] = []
    try:
        await player.play()
    except (CannotAnswer, NotAtWork, NotRealised, ProberGone) as error:
        errors.append(f"{player.at}: {error}")
    if look is not None and not errors:
        errors += await look(lab)
    if not keep:
        try:
            await lab.clear()
            await lab.equipment.use(NOTHING)
            left = [*await leftovers(lab), *(await ids_left(lab) if last else ())]
            await forget(lab)
            errors += [f"left behind: {what}" for what in left]
        except NotRealised as error:
            errors.append(f"removing all objects: {error}")
    return Outcome(
        name=story.name,
        file=story.file,
        ok=not errors and all(check.ok for check in player.done),
        seconds=round(time.monotonic() - started, 3),
        checks=tuple(player.done),
        error="\n".join(errors),
    )


class _Player:
    def __init__(self, lab: Lab, story: Story) -> None:
        self._lab, self._story = lab, story
        self._opened: dict[str, checks.Question] = {}
        self.done: list[Check] = []
        self.at = "objects"
        """The step being played."""

    async def play(self) -> None:
        """Play all steps.

        Raises:
            CannotAnswer, NotAtWork, NotRealised, ProberGone
        """
        spec = self._story.scenario.spec
        await self._lab.use(spec.nodes, spec.outside, serves_names=spec.asks_dns)
        await self._lab.say_names(spec.dns)
        await self._lab.equipment.use(spec)
        await self._lab.change(apply=self._story.objects)
        if not (self._story.steps and _changes(self._story.steps[0])):
            await self._lab.realised()
        for told in self._story.steps:
            self.at = told.name
            await self._step(told)

    async def _step(self, told: Told) -> None:
        step, lab = told.step, self._lab
        logs = Logs({name: (node.audit_log, node.host_log) for name, node in lab.nodes.items()})
        await lab.equipment.change(step.devices)
        if _changes(told):
            gone = [found(lab.world, name) for name in step.delete]
            await lab.change(apply=told.apply, delete=gone)
            await lab.realised(problems=step.problems)
            await lab.equipment.at_work()
        if step.dns:
            await lab.say_names(step.dns)
        if wait_s := seconds(step.wait):
            await asyncio.sleep(wait_s)  # the scenario asks for it
        await self._connections(told)
        pods = lab.world.pods()
        questions = [*checks.probes(step, ends_of(lab.world)), *checks.matrix(step, pods)]
        if step.capture:
            await self._captured(told, questions)
        else:
            self._note(told, questions, await trains.ask_again(self._lab, questions))
        for number, (denial, held) in enumerate(zip(step.denials, told.denied, strict=True)):
            await self._denial(told, number, denial, held)
        if step.logs:
            self.done += await logs.checks(told.name, step.logs)

    async def _captured(self, told: Told, questions: Sequence[checks.Question]) -> None:
        ends = ends_of(self._lab.world)
        asked = [(each, checks.ends_at(each, ends)) for each in told.step.capture]
        results, counts = await trains.ask_and_count(self._lab, questions, asked, checks.names_of(ends))
        self._note(told, questions, results)
        for count, seen in counts:
            check = Check(
                step=told.name,
                kind="capture",
                from_=count.wanted.from_,
                to=count.wanted.to,
                what=title(count.wanted),
                expect=count.expect(),
                got=count.words(),
                ok=count.ok,
                why=seen,
            )
            self.done.append(check)

    async def _connections(self, told: Told) -> None:
        """In order, but consecutive checks all at once."""
        for opens, group in groupby(told.step.connections, key=lambda connection: connection.open is not None):
            if not opens:
                await self._check_connections(told, list(group))
                continue
            for connection in group:
                name = connection.open or ""
                question = checks.opening(connection, ends_of(self._lab.world))
                self._opened[name] = question
                result = await self._lab.prober(question.from_).open(name, question)
                if result.result == "Dropped":  # the packet may have been lost, as in `trains.ask_again`
                    result = await self._lab.prober(question.from_).open(name, question)
                what = f"connection {name} opens, {question.what}"
                self._check(told, question, what=what, expect="Allowed", result=result)

    async def _check_connections(self, told: Told, group: Sequence[Connection]) -> None:
        asked = [
            (each.check or "", checks.checking(each, self._opened[each.check or ""]), each.expect or "")
            for each in group
        ]
        results = await asyncio.gather(
            *(self._lab.prober(question.from_).check(name, question) for name, question, _ in asked)
        )
        for (name, question, expect), result in zip(asked, results, strict=True):
            self._check(told, question, what=f"connection {name} {question.what}", expect=expect, result=result)

    def _note(self, told: Told, questions: Sequence[checks.Question], results: Sequence[Result]) -> None:
        state = state_of(self._lab.world.objects)
        for question, result in zip(questions, results, strict=True):
            reason = ""
            if result.result != question.expect:
                given = judged(state, question)
                reason = f"verdict: {given.outcome}; {why(given)}"
            self._check(told, question, what=question.what, expect=question.expect, result=result, reason=reason)

    def _check(
        self, told: Told, question: checks.Question, *, what: str, expect: str, result: Result, reason: str = ""
    ) -> None:
        check = Check(
            step=told.name,
            kind=question.kind,
            from_=question.from_,
            to=question.to,
            what=what,
            expect=expect,
            got=str(result),
            ok=result.result == expect,
            why=reason,
        )
        self.done.append(check)

    async def _denial(self, told: Told, number: int, denial: Denial, held: Sequence[Parsed]) -> None:
        """Let ingest read what must be refused. A folder cannot refuse a deletion: that is for the webhook alone."""
        said: list[str] = []
        if denial.object is not None:
            name, content = f"{_LAST}-{number}.json", codec.encode(denial.object)
            if isinstance(denial.object, str):
                path = Path(self._story.file).parent / denial.object
                name, content = f"{_LAST}-{number}{path.suffix}", path.read_bytes()
            said = [problem.words() for problem in await self._lab.refused(name, content)]
        said = said or offline.refusals(denial, held, self._lab.world)
        self.done.append(offline.denied(told, offline.title(denial), denial.message, said))


def _changes(told: Told) -> bool:
    return bool(told.apply or told.step.delete or told.step.devices)
