"""Finds probable mistakes.

These are rules that never match, conflicts resolved only by name, FQDN rules whose Pods may not query DNS, policies
that select nothing, policies that are not in force as written, and Pods that share an address. That a rule never
matches is derived from the policies and the labels of Namespaces alone, and is reported only if a single earlier rule
covers it. Conflicts and policies that select nothing are judged by the Pods that exist.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from heapq import merge
from itertools import combinations
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.ids import ALL_NODES, Address, GroupId, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyPolicy, Pod, TrafficControl
from sluice.contracts.programs import K8S_TIER, Action, Direction, Origin, Program, Rule
from sluice.contracts.subjects import unit, unit_parts
from sluice.grouping.events import key_of
from sluice.grouping.members import labels_of
from sluice.grouping.selectors import EVERYTHING, SelectorTerm, normalise, selects
from sluice.policy.anchors import Anchors
from sluice.policy.covering import group_covers, groups_apart, peers_cover, traffic_apart, traffic_covers
from sluice.policy.order import Order, order
from sluice.policy.overlapping import Population
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


class _Standing(NamedTuple):
    """A rule as it occurs in one of its programs."""

    order: Order
    program: Program
    rule: Rule

    @property
    def ref(self) -> RuleRef:
        return ref(self.program, self.rule)


def lint(state: ClusterState, policies: Iterable[AnyPolicy | TrafficControl]) -> list[Finding]:
    """All findings, sorted by kind and by the order of the rules."""
    programs = [state.compiler.programs[key] for key in sorted(state.compiler.programs)]
    people = Population(state)
    return [
        *_never(state, programs),
        *_conflicts(people, programs),
        *_starving(state),
        *_about_nobody(state, people, policies),
        *_not_in_force(state, policies),
        *_shared_addresses(state),
    ]


def _standing(programs: Iterable[Program], direction: Direction) -> list[_Standing]:
    found = [
        _Standing(order(program, rule), program, rule)
        for program in programs
        for rule in program.rules
        if rule.direction is direction
    ]
    return sorted(found, key=lambda one: (one.order, one.program.applied_to))


# ------------------------------------------------------------------------------------------------------- never matches


def _never(state: ClusterState, programs: list[Program]) -> Iterator[Finding]:
    labels = {name: namespace.metadata.labels for name, namespace in state.namespaces.items()}
    selectors = state.selectors

    @cache
    def covers(wide: GroupId, narrow: GroupId) -> bool:
        if wide == narrow or ALL_NODES in (wide, narrow):
            return wide == narrow
        return group_covers(selectors[wide], selectors[narrow], labels)

    def holds(wide: _Standing, narrow: _Standing) -> bool:
        """Whether wide covers narrow, provided that it applies to everything that the narrow one applies to."""
        return (
            _decides_before(wide, narrow)
            and frozenset(wide.rule.services or ()).issuperset(narrow.rule.services or ())
            and traffic_covers(wide.rule.traffic, narrow.rule.traffic)
            and peers_cover(wide.rule.peers, narrow.rule.peers, covers)
        )

    @cache
    def apart(one: GroupId, other: GroupId) -> bool:
        return ALL_NODES not in (one, other) and groups_apart(selectors[one], selectors[other])

    def passed_by(passing: list[_Standing], wide: _Standing, narrow: _Standing) -> bool:
        """Whether packets of the narrow rule may bypass the wide one because of a Pass before it."""
        return wide.order.tier < K8S_TIER <= narrow.order.tier and any(
            one.order < wide.order
            and not traffic_apart(one.rule.traffic, narrow.rule.traffic)
            and not apart(one.program.applied_to, narrow.program.applied_to)
            for one in passing
        )

    named = {group: selectors[group] for group in {program.applied_to for program in programs} - {ALL_NODES}}
    anchors = Anchors(named)

    @cache
    def around(narrow: GroupId) -> tuple[GroupId, ...]:
        """The groups that cover this group, itself included."""
        found = set() if narrow == ALL_NODES else anchors.covering(selectors[narrow])
        return tuple(group for group in {narrow, *found} if covers(group, narrow))

    for direction in Direction:
        standing = _standing(programs, direction)
        passing = [one for one in standing if one.rule.action is Action.PASS]
        may_hold = _Candidates(standing)
        isolating: dict[GroupId, list[tuple[int, Program]]] = {}
        for place, program in enumerate(programs):
            if direction in program.isolates:
                isolating.setdefault(program.applied_to, []).append((place, program))
        by_rule: dict[Order, list[_Standing]] = {}
        for one in standing:
            by_rule.setdefault(one.order, []).append(one)
        for places in by_rule.values():
            causes: list[RuleRef | Origin | None] = []
            for one in places:
                groups = around(one.program.applied_to)
                rules = (
                    other.ref
                    for other in may_hold.of(one, groups)
                    if holds(other, one) and not passed_by(passing, other, one)
                )
                closing = [found for group in groups for found in isolating.get(group, ())[:1]]
                closed = min(closing)[1].origin if closing and one.order.tier > K8S_TIER else None
                causes.append(next(rules, None) or closed)
            if causes[0] is not None and None not in causes:
                yield NeverMatches(rule=places[0].ref, by=causes[0])


class _Candidates:
    """Rules by the group that they apply to, in order; no Kubernetes policy decides before another."""

    def __init__(self, standing: list[_Standing]) -> None:
        self._tiered: dict[GroupId, list[tuple[int, _Standing]]] = {}
        self._k8s: dict[GroupId, list[tuple[int, _Standing]]] = {}
        for place, one in enumerate(standing):
            kept = self._k8s if one.order.tier == K8S_TIER else self._tiered
            kept.setdefault(one.program.applied_to, []).append((place, one))

    def of(self, narrow: _Standing, groups: Iterable[GroupId]) -> Iterator[_Standing]:
        """The rules that apply to these groups and may decide before this rule, in order."""
        kept = (self._tiered, self._k8s) if narrow.order.tier > K8S_TIER else (self._tiered,)
        lists = [one[group] for group in groups for one in kept if group in one]
        for _, wide in merge(*lists, key=itemgetter(0)):
            if wide.order >= narrow.order:
                return
            yield wide


def _decides_before(wide: _Standing, narrow: _Standing) -> bool:
    """Whether a packet that matches the wide rule never reaches the narrow one."""
    if wide.order >= narrow.order or wide.order.tier == narrow.order.tier == K8S_TIER:
        return False
    passes_by = wide.rule.action is Action.PASS and narrow.order.tier >= K8S_TIER
    return not passes_by


# ----------------------------------------------------------------------------------------------------------- conflicts


def _conflicts(people: Population, programs: list[Program]) -> Iterator[Finding]:
    for direction in Direction:
        level: dict[tuple[int, float], list[_Standing]] = {}
        for one in _standing(programs, direction):
            if one.order.tier != K8S_TIER:
                level.setdefault((one.order.tier, one.order.priority), []).append(one)
        for equals in level.values():
            if len({one.rule.action for one in equals}) == 1:
                continue
            told: set[tuple[Order, Order]] = set()
            for first, second in combinations(equals, 2):
                if (first.order, second.order) not in told and _disagree(first, second, people):
                    told.add((first.order, second.order))
                    yield Conflict(first=first.ref, second=second.ref)


def _disagree(first: _Standing, second: _Standing, people: Population) -> bool:
    return (
        first.program.unit != second.program.unit
        and first.rule.action is not second.rule.action
        and _share(first, second, people)
        and people.traffic_meets(first.rule.traffic, second.rule.traffic)
        and people.peers_meet(first.rule.peers, second.rule.peers)
    )


def _share(first: _Standing, second: _Standing, people: Population) -> bool:
    """Whether they apply to a common Pod, node or Service."""
    if first.rule.services is not None or second.rule.services is not None:
        return bool(frozenset(first.rule.services or ()) & frozenset(second.rule.services or ()))
    return bool(people.members(first.program.applied_to) & people.members(second.program.applied_to))


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
    if group == ALL_NODES or people.members(group):
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
