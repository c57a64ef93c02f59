"""The findings of lint as warnings on the policies concerned. Pure."""

from collections.abc import Iterable, Mapping

from sluice.contracts import subjects
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import PROGRAMMED
from sluice.contracts.objects import AnyPolicy, TrafficControl
from sluice.contracts.programs import Origin
from sluice.grouping.events import ObjectEvent
from sluice.policy.effort import TooMuch
from sluice.policy.lint import AboutNobody, Conflict, Finding, NeverMatches, NotInForce, SharedAddress, Starves, lint
from sluice.policy.realisation.report import Warned
from sluice.policy.state import ClusterState
from sluice.policy.wording import called, words

MOST_RULES = 30_000
"""Maximum number of rules to lint: ten thousand policies of three rules, which take some seconds."""

MOST_COMPARISONS = 1_000_000
"""Maximum number of pairs of rules to compare, which takes some seconds. A rule is compared only with those that have
Pods, peers and traffic in common with it; this many are so much alike only if nearly each contradicts each."""

NOT_LOOKED_FOR = "TooManyRules"

_MOST_FINDINGS = 5
"""Findings listed for one policy; for the rest, only their number is given."""


def warnings(events: Iterable[ObjectEvent], most_rules: int = MOST_RULES) -> Mapping[Unit, Warned]:
    """The warning for each policy and TrafficControl with findings; if it would take too long, one for each policy.

    The latter says that lint did not run.
    """
    state, policies = ClusterState(), dict[Unit, AnyPolicy | TrafficControl]()
    for event in events:
        state.evolve(event)
        if event.key.kind in PROGRAMMED:
            unit = subjects.unit(*event.key)
            policies.pop(unit, None)
            if isinstance(event.object, AnyPolicy | TrafficControl):
                policies[unit] = event.object
    if sum(len(program.rules) for program in state.compiler.programs.values()) > most_rules:
        return dict.fromkeys(policies, _not_looked(f"there are more than {most_rules} rules"))
    try:
        return told(lint(state, policies.values(), MOST_COMPARISONS))
    except TooMuch:
        why = f"more than {MOST_COMPARISONS} pairs of rules are so much alike that they would have to be compared"
        return dict.fromkeys(policies, _not_looked(why))


def _not_looked(why: str) -> Warned:
    message = f"warnings were not looked for, because {why}; run `sluice lint` on the manifests"
    return Warned(looked=False, reason=NOT_LOOKED_FOR, message=message)


def told(findings: Iterable[Finding]) -> Mapping[Unit, Warned]:
    """The findings grouped by the policies that they concern; a conflict concerns both."""
    found: dict[Unit, list[Finding]] = {}
    for finding in findings:
        for origin in _about(finding):
            found.setdefault(subjects.unit(origin.kind, origin.namespace, origin.name), []).append(finding)
    return {unit: _warned(its) for unit, its in found.items()}


def _about(finding: Finding) -> frozenset[Origin]:
    match finding:
        case NeverMatches(rule=rule) | Starves(rule=rule):
            return frozenset((rule.origin,))
        case Conflict(first=first, second=second):
            return frozenset((first.origin, second.origin))
        case AboutNobody(policy=policy):
            return frozenset((policy,))
        case NotInForce():
            return frozenset()  # the condition Realizable reports it
        case SharedAddress():
            return frozenset()  # it concerns Pods


def _warned(findings: list[Finding]) -> Warned:
    """The reason is that of the first finding."""
    lines = [words(one, called) for one in findings[:_MOST_FINDINGS]]
    more = len(findings) - len(lines)
    return Warned(
        reason=type(findings[0]).__name__, message="; ".join([*lines, *([f"and {more} more"] if more else [])])
    )
