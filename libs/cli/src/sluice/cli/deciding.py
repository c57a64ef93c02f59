"""Policy decisions in words, each with the place of its rule: a line of a file, or an entry of the ledger."""

from collections.abc import Callable
from typing import Any

Where = Callable[[Any, str], dict[str, Any]]
"""From a policy's Origin and a JSON path in it: `file` and `line`, or `sequence` and `time`."""


def told(decision: Any, where: Where) -> dict[str, Any]:
    """The decision, with the places of its rules."""
    from sluice.policy.verdict import Isolation, RuleRef

    reason = decision.reason
    told: dict[str, Any] = {"action": decision.action, "reason": reason.__struct_config__.tag}
    if isinstance(reason, RuleRef):
        told["rule"] = _rule(reason, where)
    if isinstance(reason, Isolation):
        told["isolated_by"] = [_policy(origin, "$.spec", where) for origin in reason.policies]
    return {**told, "passed": [_rule(rule, where) for rule in decision.passed]}


def _rule(rule: Any, where: Where) -> dict[str, Any]:
    policy = _policy(rule.origin, f"$.spec.{rule.direction}[{rule.index}]", where)
    return {**policy, "rule": rule.index, "rule_name": rule.name, "action": rule.action}


def _policy(origin: Any, path: str, where: Where) -> dict[str, Any]:
    """The policy, and the place of this part of it."""
    from sluice.contracts.kinds import RESOURCES

    named = {"kind": RESOURCES[origin.kind].kind, "namespace": origin.namespace, "name": origin.name}
    return {**named, **where(origin, path)}


def rows(direction: str, told: dict[str, Any] | None) -> list[tuple[str, str, str, str]]:
    """Direction, action, words and line, for each rule that passed and each isolating policy."""
    if told is None:
        return [(f"  {direction}", "-", "not a Pod, so no policy applies to it", "")]
    found = [("pass", *_words(rule)) for rule in told["passed"]]
    match told["reason"]:
        case "rule":
            found.append((told["action"], *_words(told["rule"])))
        case "isolation":
            for place, policy in enumerate(told["isolated_by"]):
                words = f"no rule allows it; isolated by {_name(policy)}" if place == 0 else _name(policy)
                found.append((told["action"] if place == 0 else "", words, _line(policy)))
        case "itself":
            found.append((told["action"], "a Pod may talk to itself", ""))
        case "own-node":
            found.append((told["action"], "a node may always reach the Pods that it runs", ""))
        case _:
            found.append((told["action"], "no policy applies", ""))
    return [(f"  {direction}" if place == 0 else "", *row) for place, row in enumerate(found)]


def _words(rule: dict[str, Any]) -> tuple[str, str]:
    name = f" ({rule['rule_name']})" if rule["rule_name"] else ""
    return f"{_name(rule)}, rule {rule['rule']}{name}", _line(rule)


def _name(policy: dict[str, Any]) -> str:
    return f"{policy['kind']} {'/'.join(filter(None, (policy['namespace'], policy['name'])))}"


def _line(policy: dict[str, Any]) -> str:
    if "sequence" in policy:
        return f"since {policy['time']} (revision {policy['sequence']})"
    return f"{policy['file']}:{policy['line']}" if "file" in policy else ""
