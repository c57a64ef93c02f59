"""The findings of lint in words. The caller decides how to name a culprit: files have lines, objects have names."""

from collections.abc import Callable
from typing import assert_never

from sluice.contracts.kinds import RESOURCES
from sluice.contracts.programs import Origin
from sluice.policy.lint import AboutNobody, Conflict, Finding, NeverMatches, NotInForce, SharedAddress, Starves
from sluice.policy.verdict import RuleRef

Culprit = RuleRef | Origin


def words(finding: Finding, name: Callable[[Culprit], str]) -> str:
    """The finding in one line, with all its culprits."""
    match finding:
        case NeverMatches(rule=rule, by=by):
            return f"{name(rule)} never matches: {name(by)} comes first and matches all of its traffic"
        case Conflict(first=first, second=second):
            what = f"{first.action} and {second.action}"
            return (
                f"{name(second)} contradicts {name(first)} ({what}) at equal priority; {name(first)} is the one that "
                "is enforced"
            )
        case Starves(rule=rule, by=by):
            return (
                f"{name(rule)} allows traffic to a domain name, but {name(by)} comes first and drops the DNS "
                f"queries of the same Pods; allow UDP port 53 before {name(by)}"
            )
        case NotInForce(policy=policy, reason=reason):
            return f"{name(policy)} is not in force as written: {reason}"
        case AboutNobody(policy=policy):
            return f"{name(policy)} applies to no Pod"
        case SharedAddress(address=address, pod=pod, holder=holder):
            return (
                f"{name(pod)} has the same address as {name(holder)}, {address}: policies take it as the address "
                f"of {name(holder)}, which was created later or, if at the same time, has the greater uid or "
                "name; give one of them another address"
            )
        case _:
            assert_never(finding)


def called(culprit: Culprit) -> str:
    """Kind, Namespace and name; for a rule also its direction and index, and its name if it has one."""
    origin = culprit.origin if isinstance(culprit, RuleRef) else culprit
    whole = f"{RESOURCES[origin.kind].kind} {'/'.join(filter(None, (origin.namespace, origin.name)))}"
    if isinstance(culprit, Origin):
        return whole
    rule = f"{whole} {culprit.direction}[{culprit.index}]"
    return f'{rule} "{culprit.name}"' if culprit.name else rule
