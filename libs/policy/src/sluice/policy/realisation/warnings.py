"""The findings of lint, as warnings on the policies concerned. Pure."""

from collections.abc import Iterable, Mapping

from sluice.contracts import subjects
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import PROGRAMMED
from sluice.contracts.objects import AnyPolicy, TrafficControl
from sluice.contracts.programs import Origin
from sluice.grouping.events import ObjectEvent
from sluice.policy.lint import AboutNobody, Conflict, Finding, NeverMatches, NotInForce, SharedAddress, Starves, lint
from sluice.policy.realisation.report import Warned
from sluice.policy.state import ClusterState
from sluice.policy.wording import called, words

MOST_RULES = 3_000
"""So many are looked at: a thousand policies of three rules. Where most have one priority, or apply to the same Pods,
each is compared with each, so that twice as many cost four times as much."""

NOT_LOOKED_FOR = "TooManyRules"

_MOST_FINDINGS = 5
"""Told of one policy; of the others how many there are."""


def warnings(events: Iterable[ObjectEvent], most_rules: int = MOST_RULES) -> Mapping[Unit, Warned]:
    """Of each policy and TrafficControl with something to warn of; with too many rules, of each that nobody looked."""
    state, policies = ClusterState(), dict[Unit, AnyPolicy | TrafficControl]()
    for event in events:
        state.evolve(event)
        if event.key.kind in PROGRAMMED:
            unit = subjects.unit(*event.key)
            policies.pop(unit, None)
            if isinstance(event.object, AnyPolicy | TrafficControl):
                policies[unit] = event.object
    if sum(len(program.rules) for program in state.compiler.programs.values()) > most_rules:
        message = f"not looked for: there are more than {most_rules} rules; run `sluice lint` on the manifests"
        return dict.fromkeys(policies, Warned(looked=False, reason=NOT_LOOKED_FOR, message=message))
    return told(lint(state, policies.values()))


def told(findings: Iterable[Finding]) -> Mapping[Unit, Warned]:
    """The findings, each by the policies that it is about: of a conflict both."""
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
            return frozenset()  # Realizable says that
        case SharedAddress():
            return frozenset()  # it is about Pods


def _warned(findings: list[Finding]) -> Warned:
    """The reason is that of the first."""
    lines = [words(one, called) for one in findings[:_MOST_FINDINGS]]
    more = len(findings) - len(lines)
    return Warned(
        reason=type(findings[0]).__name__, message="; ".join([*lines, *([f"and {more} more"] if more else [])])
    )
