"""Scenarios evaluated by `verdict()` alone: for machines without a switch, and for cases that no datapath can show."""

import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sluice.admission.among import admit_all, admit_removal
from sluice.admission.context import Known
from sluice.contracts.antrea import AntreaNetworkPolicy, ClusterNetworkPolicy, rule_name
from sluice.contracts.kinds import RESOURCES
from sluice.contracts.programs import ESTABLISHED, Action, Direction, Origin
from sluice.contracts.status import DocumentProblem
from sluice.contracts.subjects import ObjectSubject
from sluice.kube.convert import DEFAULT_NAMESPACE
from sluice.kube.manifest import Document, Parsed
from sluice.lab import checks
from sluice.lab.ends import ends_of
from sluice.lab.playing import play
from sluice.lab.reading import Story, Told
from sluice.lab.reasons import judged, state_of
from sluice.lab.results import Check, Outcome
from sluice.lab.scenario import Denial, ObjectName
from sluice.lab.world import Key, World
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Isolation, RuleRef
from sluice.policy.verdict import Outcome as Fate

INLINE = "an inline object"


def run(story: Story) -> Outcome:
    """What policy says about every check of the story."""
    started = time.monotonic()
    opened: dict[str, _Opened] = {}
    done: list[Check] = []
    for told, world in play(story):
        done += _step(told, world, opened)
    return Outcome(
        name=story.name,
        file=story.file,
        ok=all(check.ok for check in done),
        seconds=round(time.monotonic() - started, 3),
        checks=tuple(done),
        offline=True,
    )


class _Opened(NamedTuple):
    """A long-lived connection."""

    question: checks.Question
    got: str
    judges: frozenset[RuleRef]
    """The layer 7 rules that allowed it, by which each request on it is judged."""


def _opened(state: ClusterState, world: World, question: checks.Question) -> _Opened:
    said = judged(state, question)
    reasons = (decision.reason for decision in (said.egress, said.ingress) if decision)
    judges = (one for one in reasons if isinstance(one, RuleRef) and _judges(world, one))
    return _Opened(question, str(said.outcome), frozenset(judges))


def _judges(world: World, rule: RuleRef) -> bool:
    """Whether the rule still exists in the world and is a layer 7 rule."""
    document = world.objects.get(Key(rule.origin.kind, rule.origin.namespace, rule.origin.name))
    match document and document.object:
        case AntreaNetworkPolicy(spec=spec) | ClusterNetworkPolicy(spec=spec):
            rules = spec.ingress if rule.direction is Direction.INGRESS else spec.egress
            return any(one.l7_protocols and rule_name(rule.direction.value, one) == rule.name for one in rules)
        case _:
            return False


def _step(told: Told, world: World, opened: dict[str, _Opened]) -> Iterator[Check]:
    state, pods, ends = state_of(world.objects), world.pods(), ends_of(world)
    for connection in told.step.connections:
        if connection.open:
            question = checks.opening(connection, ends)
            opened[connection.open] = _opened(state, world, question)
            yield _check(told, question, opened[connection.open].got, f"connection {connection.open} opens,")
        elif connection.check and connection.expect:
            expect = connection.verdict or connection.expect
            was = opened[connection.check]
            question, got = checks.checking(connection, was.question), was.got
            if not all(_judges(world, one) for one in was.judges):
                got = str(Fate.REJECTED)
                opened[connection.check] = was._replace(got=got, judges=frozenset())
            elif was.judges:
                got = _got(state, question)
            elif _is_ended(state, world, was.question):  # otherwise it is allowed whatever policies say now
                got = str(Fate.DROPPED)
                opened[connection.check] = was._replace(got=got)
            yield Check(
                step=told.name,
                kind="probe",
                from_=question.from_,
                to=question.to,
                what=f"connection {connection.check} {question.what}",
                expect=expect,
                got=got,
                ok=got == expect,
            )
    for question in (*checks.probes(told.step, ends), *checks.matrix(told.step, pods)):
        yield _check(told, question, _got(state, question))
    yield from denials(told, world)


def _is_ended(state: ClusterState, world: World, question: checks.Question) -> bool:
    """Whether a policy denies it now and ends connections that it denies."""
    said = judged(state, question)
    for decision in (said.egress, said.ingress):
        match decision and decision.action is not Action.ALLOW and decision.reason:
            case RuleRef(origin=origin):
                origins: tuple[Origin, ...] = (origin,)
            case Isolation(policies=policies):
                origins = policies
            case _:
                origins = ()
        for origin in origins:
            document = world.objects[Key(origin.kind, origin.namespace, origin.name)]
            if document.object.metadata.annotations.get(ESTABLISHED) == "end":
                return True
    return False


def denials(told: Told, world: World) -> Iterator[Check]:
    """Admission's answers for objects that must be refused, each tested separately against all existing ones."""
    for denial, held in zip(told.step.denials, told.denied, strict=True):
        yield denied(told, title(denial), denial.message, refusals(denial, held, world))


def title(denial: Denial) -> str:
    if denial.delete is not None:
        return f"the end of {denial.delete.kind} {denial.delete.name}"
    return denial.object if isinstance(denial.object, str) else INLINE


def refusals(denial: Denial, held: Sequence[Parsed], world: World) -> list[str]:
    """The reasons why admission refuses it."""
    others = Known()
    for document in world.objects.values():
        others.put(document.object)
    if denial.delete is not None:
        reasons = (admit_removal(key, others) for key in _keys(denial.delete))
        return [reason for reason in reasons if reason]
    documents = [each for each in held if isinstance(each, Document)]
    found = admit_all([document.object for document in documents], others)
    wrong = [each for each in held if isinstance(each, DocumentProblem)]
    wrong += [
        document.problem(*refusal) for document, refused in zip(documents, found, strict=True) for refusal in refused
    ]
    return [problem.words() for problem in wrong]


def _keys(name: ObjectName) -> Iterator[ObjectSubject]:
    """The objects that a name can mean, including static tiers, which are no objects here."""
    for kind, resource in RESOURCES.items():
        if resource.kind == name.kind and name.api_version in ("", resource.api_version):
            namespace = (name.namespace or DEFAULT_NAMESPACE) if resource.namespaced else ""
            yield ObjectSubject(kind, namespace, name.name)


def denied(told: Told, what: str, message: str, said: list[str]) -> Check:
    """The check of a denial: the object was refused, and a reason matches the expected message."""
    matching = [text for text in said if re.search(message, text)]
    return Check(
        step=told.name,
        kind="denial",
        from_="",
        to="",
        what=what,
        expect=f"Denied: {message}" if message else "Denied",
        got=f"Denied: {'; '.join(matching or said)}" if said else "Admitted",
        ok=bool(matching),
    )


def _got(state: ClusterState, question: checks.Question) -> str:
    return str(judged(state, question).outcome)


def _check(told: Told, question: checks.Question, got: str, prefix: str = "") -> Check:
    expect = question.verdict or question.expect
    return Check(
        step=told.name,
        kind=question.kind,
        from_=question.from_,
        to=question.to,
        what=f"{prefix} {question.what}".strip(),
        expect=expect,
        got=got,
        ok=got == expect,
    )
