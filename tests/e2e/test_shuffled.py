"""Scenarios about groups and Namespaces once more, with real packets: their objects come in any order, few at a time.

What holds in the end depends on what there is, and not on the order in which it was told: a group after the policy
that names it, a Namespace after its Pods, labels before or after whom they are about.

What is asked of packets is asked of `sluice trace`, too: the fourth witness.
"""

import json
import os
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from msgspec.structs import replace
from tests.e2e import changing
from tests.e2e.randomly import scenario

from sluice.contracts.tracing import FromPod, TraceQuestion
from sluice.contracts.tracing import Traced as Packet
from sluice.lab import offline, reading
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.probers import Result
from sluice.lab.reading import Story, Told
from sluice.lab.results import lines_of
from sluice.lab.scenario import Step
from sluice.lab.suite import play
from sluice.runtime import tracing
from sluice.runtime.bus import Bus

SEEDS = Path(__file__).parents[1] / "conformance" / "seeds"
NAMES = (
    "acnp-with-cluster-groups",
    "annp-with-groups",
    "deny-self-ns-a-to-b",
    "isolation-based-on-org",
    "isolation-based-on-org-and-env",
    "strict-ns-isolation",
    "test-cg-nested",
    "test-cg-sel",
    "test-cg-svc-ref",
    "test-grp-nested",
)
TRACED = 12
"""So many packets of each step are traced."""

AT_ONCE = 4
"""Objects that come in one change."""

pytestmark = [pytest.mark.datapath, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


def shuffled(story: Story, chance: random.Random) -> Story:
    """The story with its objects in another order, a few in each step; what is asked is asked when all are there."""
    first = Told(name="who is there", step=Step(), apply=story.objects, denied=())
    steps = tuple(step for told in (first, *story.steps) for step in _piecewise(told, chance))
    return replace(story, objects=(), steps=steps)


def _piecewise(told: Told, chance: random.Random) -> Iterator[Told]:
    documents = list(told.apply)
    chance.shuffle(documents)
    if told.step.delete:
        yield Told(name=f"{told.name}: what goes", step=Step(delete=told.step.delete), apply=(), denied=())
    for first in range(0, len(documents), AT_ONCE):
        some = tuple(documents[first : first + AT_ONCE])
        yield Told(name=f"{told.name}: from {first}", step=Step(), apply=some, denied=())
    yield replace(told, step=replace(told.step, delete=()), apply=())


class Traced(NamedTuple):
    question: Question
    expect: str
    got: str
    decided: str


async def traced(lab: Lab, bus: Bus, question: Question) -> Traced | None:
    """What the switches say of a packet between Pods; None where it is sent by nobody's port."""
    sender = lab.world.pods().get(question.from_)
    if sender is None or sender.host_network:
        return None
    packet = Packet(
        source=question.source,
        destination=question.address,
        protocol=question.protocol,
        port=question.port,
        source_port=question.source_port or 40_000,
    )
    way = await tracing.trace(bus, sender.node, TraceQuestion(begin=FromPod(pod=question.from_), packet=packet))
    rules = [hop.rule for one in way for hop in one.hops if hop.rule]
    got: str = way[-1].outcome
    if got == "Allowed" and question.to in lab.world.pods() and way[-1].pods != (question.to,):
        got = f"Allowed, to {way[-1].pods}"
    return Traced(question, question.expect, got, rules[-1].policy.name if rules else "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def witness() -> AsyncIterator[tuple[Lab, list[Traced]]]:
    """A lab, and what was traced of all that was asked in it."""
    seen: list[Traced] = []
    async with await Lab.start() as running, await Bus.connect(running.nats.url, name="tracing") as bus:
        await running.realised()
        send = running.ask

        async def ask(questions: Sequence[Question], **how: Any) -> list[Result]:
            packets = [question for question in questions if question.asks is None]  # no trace is about requests
            told = [await traced(running, bus, question) for question in packets[:TRACED]]
            seen.extend(filter(None, told))
            return await send(questions, **how)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running, "ask", ask)
            yield running, seen


@pytest.mark.parametrize("name", NAMES)
async def test_the_order_of_events_does_not_matter(name: str, witness: tuple[Lab, list[Traced]]) -> None:
    (story,) = reading.read([SEEDS / f"{name}.yaml"])
    lab, seen = witness
    seen.clear()

    async for outcome in play(lab, [shuffled(story, random.Random(name))], last=False):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert outcome.checks
    assert seen
    assert [one for one in seen if one.got != one.expect] == []
    assert all(one.decided for one in seen if one.expect != "Allowed")


STORIES = int(os.environ.get("SLUICE_RANDOM_STORIES", "1"))
"""So many stories of random policies are played. A hundred take 20 minutes, and more on a machine with other work."""


@pytest.mark.parametrize("seed", range(STORIES))
async def test_random_policies(seed: int, witness: tuple[Lab, list[Traced]], tmp_path: Path) -> None:
    """`verdict()` says what becomes of packets of both IP versions, to Pods and to Services; switch and trace agree."""
    path = tmp_path / f"random-{seed}.yaml"  # JSON is YAML
    path.write_text(json.dumps(scenario(seed, steps=4, probes=30), indent=1))
    (story,) = reading.read([path])
    lab, seen = witness
    seen.clear()

    async for outcome in play(lab, [_with_verdicts(story)], last=False):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert len({check.expect for check in outcome.checks}) > 1
    assert [one for one in seen if one.got != one.expect] == []


WORLDS = int(os.environ.get("SLUICE_RANDOM_WORLDS", "1"))
"""So many stories of clusters that change are played."""


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_random_policies_about_everything(seed: int, witness: tuple[Lab, list[Traced]], tmp_path: Path) -> None:
    """As above, in a cluster of which all that policies can name comes, changes and goes."""
    path = tmp_path / f"wide-{seed}.yaml"
    path.write_text(json.dumps(changing.scenario(seed, steps=4, probes=40), indent=1))
    (story,) = reading.read([path])
    lab, seen = witness
    seen.clear()

    async for outcome in play(lab, [_without_associations(_with_verdicts(story))], last=False):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert len({check.expect for check in outcome.checks}) > 1
    assert [one for one in seen if one.got != one.expect and one.question.icmp is None] == []


def _without_associations(story: Story) -> Story:
    """Where the switch knows SCTP by addresses alone answers meet policy, too: what is allowed may not be answered."""
    steps = []
    for told in story.steps:
        probes = (probe for probe in told.step.probes if (probe.protocol, probe.expect) != ("SCTP", "Allowed"))
        steps.append(replace(told, step=replace(told.step, probes=tuple(probes))))
    return replace(story, steps=tuple(steps))


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_random_requests_to_everything(seed: int, witness: tuple[Lab, list[Traced]], tmp_path: Path) -> None:
    """As above, and rules look into what goes by TCP."""
    path = tmp_path / f"wide-requests-{seed}.yaml"
    path.write_text(json.dumps(changing.scenario(seed, steps=3, probes=40, requests=True), indent=1))
    (story,) = reading.read([path])
    lab, seen = witness
    seen.clear()

    async for outcome in play(lab, [_without_associations(_with_verdicts(story))], last=False):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert len({check.expect for check in outcome.checks}) > 1
    assert [one for one in seen if one.got != one.expect and one.question.icmp is None] == []


REQUEST_STORIES = int(os.environ.get("SLUICE_RANDOM_REQUEST_STORIES", "1"))
"""So many of policies that look into requests; each rule set takes the engine most of a second."""


@pytest.mark.parametrize("seed", range(REQUEST_STORIES))
async def test_random_policies_about_requests(seed: int, witness: tuple[Lab, list[Traced]], tmp_path: Path) -> None:
    """`verdict()` says what becomes of requests and handshakes as well, and of what is none under the same rules."""
    path = tmp_path / f"requests-{seed}.yaml"
    path.write_text(json.dumps(scenario(seed, steps=3, probes=40, requests=True), indent=1))
    (story,) = reading.read([path])
    lab, seen = witness
    seen.clear()

    async for outcome in play(lab, [_with_verdicts(story)], last=False):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert len({check.expect for check in outcome.checks}) > 1
    assert [one for one in seen if one.got != one.expect] == []


def _with_verdicts(story: Story) -> Story:
    """Each probe expects what `verdict()` says of it."""
    said = iter(offline.run(story).checks)
    steps = []
    for told in story.steps:
        probes = tuple(replace(probe, expect=next(said).got) for probe in told.step.probes)
        steps.append(replace(told, step=replace(told.step, probes=probes)))
    assert next(said, None) is None
    return replace(story, steps=tuple(steps))
