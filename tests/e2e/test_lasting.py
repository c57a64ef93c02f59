"""Connections between Pods while random policies change: they last, but for those that a policy denies and ends."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Literal

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.e2e import changing
from tests.e2e.held import Held, Json
from tests.e2e.widely import PODS

from sluice.contracts.programs import ESTABLISHED, Action, Origin
from sluice.lab import checks, reading
from sluice.lab.checks import Question
from sluice.lab.ends import SERVICE_END, ends_of
from sluice.lab.lab import Lab
from sluice.lab.parts import Family
from sluice.lab.playing import play as worlds
from sluice.lab.reading import Story, Told
from sluice.lab.reasons import judged, state_of
from sluice.lab.results import lines_of
from sluice.lab.scenario import Connection, Expect, Step
from sluice.lab.suite import play
from sluice.lab.world import Key, World
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Decision, Isolation, Outcome, RuleRef

pytestmark = [pytest.mark.datapath, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

WORLDS = int(os.environ.get("SLUICE_RANDOM_WORLDS", "1"))
"""So many stories are played. Twenty take some five minutes."""

PROTOCOLS: list[Literal["TCP", "UDP"]] = ["TCP", "TCP", "UDP"]
FAMILIES: list[Family] = ["IPv4", "IPv6"]
SAID: dict[Action, Expect] = {Action.DROP: "Dropped", Action.REJECT: "Rejected"}
STEPS, OPENED, TRIED = 4, 4, 100
"""In each step so many connections are opened, if as many are allowed of those that are tried."""


class Lasting(changing.Changing):
    """No Pod moves and no Service changes its ports, which ends connections whatever policies say.

    No rule is about the sender's port, which a connection does not choose.
    """

    def ports(self, *, named: bool, senders: bool = False) -> Json:
        return super().ports(named=named, senders=False)

    def noted(self, one: Json) -> Json:
        if self.chance(0.4):
            one["metadata"]["annotations"] = {ESTABLISHED: "end"}
        return one

    def _move(self, held: Held) -> None:
        self._relabel(held)

    _swap = _leave = _move

    def _service(self, held: Held) -> None:
        held.put(self.chosen(self.pick("xyz")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with await Lab.start() as running:
        await running.realised()
        yield running


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_connections_last(seed: int, lab: Lab, tmp_path: Path) -> None:
    chance = Lasting(Random(f"lasting {seed}"))
    path = tmp_path / f"lasting-{seed}.yaml"  # JSON is YAML
    path.write_text(json.dumps(changing.story(f"lasting-{seed}", chance, STEPS, probes=0), indent=1))
    (story,) = reading.read([path])

    async for outcome in play(lab, [_with_connections(_one_by_one(story), chance)], last=False):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert len(outcome.checks) > 500


def _one_by_one(story: Story) -> Story:
    """Each object in a step of its own: of several that come at once, a part may be in force for a moment."""
    return replace(story, steps=tuple(step for told in story.steps for step in _pieces(told)))


def _pieces(told: Told) -> Iterator[Told]:
    for gone in told.step.delete:
        yield Told(name=f"{told.name}: {gone.name} goes", step=Step(delete=(gone,)), apply=(), denied=())
    for each in told.apply:
        yield Told(name=f"{told.name}: {each.object.metadata.name}", step=Step(), apply=(each,), denied=())


def _with_connections(story: Story, chance: Lasting) -> Story:
    """In each step those that are open are checked, and others opened that policy allows."""
    steps, open_, number = [], dict[str, Question](), 0
    for told, world in worlds(story):
        state, ends, entries = state_of(world.objects), ends_of(world), list[Connection]()
        for name, question in list(open_.items()):
            expect = _expected(state, world, question)
            entries.append(Connection(check=name, expect=expect))
            if expect != "Allowed":
                del open_[name]
        enough = number + OPENED
        for _ in range(TRIED):
            if number == enough:
                break
            one = _one(chance, f"c{number}")
            question = checks.opening(one, ends)
            if question.from_ != question.to and judged(state, question).outcome is Outcome.ALLOWED:
                entries.append(one)
                open_[one.open or ""] = question
                number += 1
        steps.append(replace(told, step=replace(told.step, connections=tuple(entries))))
    return replace(story, steps=tuple(steps))


def _one(chance: Lasting, name: str) -> Connection:
    (of, client), (to_of, to) = chance.pick(PODS), chance.pick(PODS)
    served, protocol = chance.chance(0.3), chance.pick(PROTOCOLS)
    port = chance.pick([80, 8080]) if served and protocol == "TCP" else 80 if served else chance.pick([80, 81])
    return Connection(
        open=name,
        from_=f"{of}/{client}",
        to=f"{'svc:' if served else ''}{to_of}/{to}",
        protocol=protocol,
        port=port,
        family=chance.pick(FAMILIES),
    )


def _expected(state: ClusterState, world: World, question: Question) -> Expect:
    """What comes of the next packet: that of a connection which a policy has ended is a new one's.

    On the client's node it is known still, where only the server's node has forgotten it.
    """
    said = judged(state, question)
    denied = [one for one in (said.egress, said.ingress) if one is not None and one.action is not Action.ALLOW]
    ending = [one for one in denied if _ends(world, one)]
    if not ending:
        return "Allowed"
    pods = world.pods()
    near = pods[question.from_].node == pods[question.to.removeprefix(SERVICE_END)].node
    return SAID[(denied if near else ending)[0].action]


def _ends(world: World, decision: Decision) -> bool:
    match decision.reason:
        case RuleRef(origin=origin):
            origins: tuple[Origin, ...] = (origin,)
        case Isolation(policies=policies):
            origins = policies
        case _:
            return False
    found = (world.objects[Key(one.kind, one.namespace, one.name)].object.metadata for one in origins)
    return any(one.annotations.get(ESTABLISHED) == "end" for one in found)
