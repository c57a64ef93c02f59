"""Finds probable mistakes.

These are rules that never match, conflicts resolved only by name, FQDN rules whose Pods may not query DNS, policies
that select nothing, policies that are not in force as written, and Pods that share an address. That a rule never
matches is derived from the policies and the labels of Namespaces alone, and is reported only if a single earlier rule
covers it. Conflicts and policies that select nothing are judged by the Pods that exist.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from sluice.contracts.ids import ALL_NODES, Address, GroupId, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyPolicy, Pod, TrafficControl
from sluice.contracts.programs import K8S_TIER, Direction, Origin, Program
from sluice.contracts.subjects import unit, unit_parts
from sluice.grouping.events import key_of
from sluice.grouping.members import labels_of
from sluice.grouping.selectors import EVERYTHING, SelectorTerm, normalise, selects
from sluice.policy.conflicts import conflicting
from sluice.policy.effort import Effort
from sluice.policy.hidden import hidden
from sluice.policy.order import Order, order
from sluice.policy.overlapping import Population
from sluice.policy.standing import Standing, standing
from sluice.policy.starving import starving
from sluice.policy.state import ClusterState
from sluice.policy.translate import SelfContained
from sluice.policy.verdict import RuleRef, ref


class NeverMatches(Struct, frozen=True, kw_only=True, tag="never-matches"):
    rule: RuleRef
    by: RuleRef | Origin
    """The earlier rule that covers all of it, or the Kubernetes policy that isolates these Pods before the baseline."""


class Conflict(Struct, frozen=True, kw_only=True, tag="conflict"):
    """Two policies with the same tier and priority do different things with the same packet."""

    first: RuleRef
    """The one that takes effect."""

    second: RuleRef


class AboutNobody(Struct, frozen=True, kw_only=True, tag="about-nobody"):
    """The policy applies to no Pod."""

    policy: Origin


class Starves(Struct, frozen=True, kw_only=True, tag="starves"):
    """The rule allows by DNS name, but its Pods may not query DNS."""

    rule: RuleRef
    by: RuleRef | Origin
    """What drops their DNS queries: a rule, or the Kubernetes policy that isolates them."""


class NotInForce(Struct, frozen=True, kw_only=True, tag="not-in-force"):
    """The policy, or part of it, has no program."""

    policy: Origin
    reason: str


class SharedAddress(Struct, frozen=True, kw_only=True, tag="shared-address"):
    """Two live Pods claim the same address. It counts as the holder's; policies do not see the other Pod there."""

    address: Address
    pod: Origin
    holder: Origin
    """The Pod that holds the address: the one created later, then the one with the greater uid and name."""


Finding = NeverMatches | Conflict | Starves | AboutNobody | NotInForce | SharedAddress


def lint(
    state: ClusterState, policies: Iterable[AnyPolicy | TrafficControl], most_comparisons: int | None = None
) -> list[Finding]:
    """All findings, sorted by kind and by the order of the rules.

    Raises:
        TooMuch: more pairs of rules than `most_comparisons` would have to be compared. Unset: there is no limit.
    """
    effort = Effort(most_comparisons)
    programs = [state.compiler.programs[key] for key in sorted(state.compiler.programs)]
    people = Population(state)
    return [
        *_never(state, programs, effort),
        *_conflicts(people, programs, effort),
        *_starving(state),
        *_about_nobody(state, people, policies),
        *_not_in_force(state, policies),
        *_shared_addresses(state),
    ]


# ------------------------------------------------------------------------------------------------------- never matches


def _never(state: ClusterState, programs: list[Program], effort: Effort) -> Iterator[Finding]:
    for narrow, cause in hidden(state, programs, effort):
        yield NeverMatches(rule=narrow.ref, by=cause if isinstance(cause, Origin) else cause.ref)


# ----------------------------------------------------------------------------------------------------------- conflicts


def _conflicts(people: Population, programs: list[Program], effort: Effort) -> Iterator[Finding]:
    for direction in Direction:
        level: dict[tuple[int, float], list[Standing]] = {}
        for one in standing(programs, direction):
            if one.order.tier != K8S_TIER:
                level.setdefault((one.order.tier, one.order.priority), []).append(one)
        for equals in level.values():
            refs: dict[Order, RuleRef] = {}  # a rule may conflict with many
            for pair in conflicting(people, equals, effort):
                first, second = (refs.get(one.order) or refs.setdefault(one.order, one.ref) for one in pair)
                yield Conflict(first=first, second=second)


# ------------------------------------------------------------------------------------------------------------ starving


def _starving(state: ClusterState) -> Iterator[Finding]:
    told: set[Order] = set()
    for program, rule, cause in starving(state):
        if (place := order(program, rule)) not in told:
            told.add(place)
            by = cause if isinstance(cause, Origin) else ref(cause.program, cause.rule)
            yield Starves(rule=ref(program, rule), by=by)


# -------------------------------------------------------------------------------------------------------- about nobody


def _about_nobody(
    state: ClusterState, people: Population, policies: Iterable[AnyPolicy | TrafficControl]
) -> Iterator[Finding]:
    """Yields nothing if there are no Pods at all: then every policy would be reported."""
    if not people:
        return
    applied: dict[Unit, list[GroupId]] = {}
    for group, program_unit in state.compiler.programs:
        applied.setdefault(program_unit, []).append(group)
    by_unit = {unit(*key_of(policy)): policy for policy in policies}
    for one in sorted(by_unit.keys() - {problem.unit for problem in state.compiler.problems}):
        policy = by_unit[one]
        if isinstance(policy, TrafficControl):
            somebody = _is_followed(state, policy)
        else:
            has_rules = isinstance(policy, SelfContained) or bool(policy.spec.ingress or policy.spec.egress)
            somebody = not has_rules or any(_is_somebody(state, people, group) for group in applied.get(one, ()))
        if not somebody:
            yield AboutNobody(policy=_origin(one, policy))


def _not_in_force(state: ClusterState, policies: Iterable[AnyPolicy | TrafficControl]) -> Iterator[Finding]:
    by_unit = {unit(*key_of(policy)): policy for policy in policies}
    for problem in state.compiler.problems:
        if problem.unit in by_unit:
            yield NotInForce(policy=_origin(problem.unit, by_unit[problem.unit]), reason=problem.reason)


def _shared_addresses(state: ClusterState) -> Iterator[Finding]:
    for address, holder, others in state.contested():
        for other in others:
            yield SharedAddress(address=address, pod=_pod(state, other), holder=_pod(state, holder))


def _pod(state: ClusterState, pod: str) -> Origin:
    namespace, _, name = pod.partition("/")
    return Origin(kind=Kind.POD, namespace=namespace, name=name, uid=state.pods[namespace, name].uid)


def _origin(one: Unit, policy: AnyPolicy | TrafficControl) -> Origin:
    kind, namespace, name = unit_parts(one)
    return Origin(kind=kind, namespace=namespace, name=name, uid=Uid(policy.metadata.uid))


def _is_somebody(state: ClusterState, people: Population, group: GroupId) -> bool:
    """Whether a Pod or node is in the group. Services always count; on secondary networks, any selected Pod does."""
    if group == ALL_NODES or people.kinds(group):
        return True
    selector = state.selectors[group]
    return bool(selector.networks) and any(_selects(state, selector.terms, pod) for pod in state.pods.values())


def _is_followed(state: ClusterState, control: TrafficControl) -> bool:
    """Whether it selects a Pod; without any selector it selects none."""
    chosen = control.spec.applied_to
    if chosen.pod_selector is None and chosen.namespace_selector is None:
        return False
    term = SelectorTerm(
        namespace_selector=normalise(chosen.namespace_selector) if chosen.namespace_selector else None,
        pod_selector=normalise(chosen.pod_selector) if chosen.pod_selector else EVERYTHING,
    )
    return any(_selects(state, (term,), pod) for pod in state.pods.values())


def _selects(state: ClusterState, terms: Iterable[SelectorTerm], pod: Pod) -> bool:
    namespace = state.namespaces.get(pod.metadata.namespace)
    labels = namespace.metadata.labels if namespace else None
    return pod.on_pod_network and any(selects(term, pod.metadata.namespace, labels, labels_of(pod)) for term in terms)
