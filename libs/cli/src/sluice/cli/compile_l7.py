"""The rule files that a node's inspection engine would have, one per tenant."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Tenant(NamedTuple):
    rules_of: tuple[str, ...]
    """The policy rules that use it, as `annps:x:p ingress web`; equal rule sets share a tenant."""

    digest: str
    rules: tuple[str, ...]
    """Lines of the rule file."""


def compiled(documents: Mapping[Any, Any], node: Any) -> tuple[list[Tenant], list[Any]]:
    """The tenants of the node, and what could not be compiled as written."""
    from sluice.cli.derived import derive
    from sluice.dataplane.l7.wanted import rule_sets

    compiler, _, grouping, *_ = derive(documents)
    here = set(grouping.groups_on(node))
    wanted = rule_sets(program for (group, _), program in sorted(compiler.programs.items()) if group in here)
    shared: dict[str, list[str]] = {}
    for subject in sorted(wanted):
        shared.setdefault(wanted[subject].digest, []).append(f"{subject.unit} {subject.direction} {subject.rule}")
    texts = {rules.digest: rules.text for rules in wanted.values()}
    tenants = [Tenant(tuple(users), one, tuple(texts[one].splitlines())) for one, users in shared.items()]
    return tenants, sorted(compiler.problems)


def text(tenants: list[Tenant]) -> str:
    """The rule files, one after the other."""
    lines = []
    for one in tenants:
        lines += [f"# {user}" for user in one.rules_of]
        lines += [f"# rule set {one.digest}", *one.rules, ""]
    return "".join(f"{line}\n" for line in lines)
