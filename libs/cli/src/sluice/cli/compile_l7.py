"""The rule files that a node's inspection engine would have, one per tenant."""

from typing import NamedTuple

from sluice.cli.derived import Derived
from sluice.contracts.ids import ALL_NODES, NodeName
from sluice.contracts.status import Problem
from sluice.dataplane.l7.wanted import rule_sets


class Tenant(NamedTuple):
    rules_of: tuple[str, ...]
    """The policy rules that use it, as `annps:x:p ingress web`; equal rule sets share a tenant."""

    digest: str
    rules: tuple[str, ...]
    """Lines of the rule file."""


def compiled(derived: Derived, node: NodeName) -> tuple[list[Tenant], list[Problem]]:
    """The tenants of the node, and what could not be compiled as written."""
    wanted = rule_sets(program for program in derived.programs(node) if program.applied_to != ALL_NODES)
    shared: dict[str, list[str]] = {}
    for subject in sorted(wanted):
        shared.setdefault(wanted[subject].digest, []).append(f"{subject.unit} {subject.direction} {subject.rule}")
    texts = {rules.digest: rules.text for rules in wanted.values()}
    tenants = [Tenant(tuple(users), one, tuple(texts[one].splitlines())) for one, users in shared.items()]
    return tenants, sorted(derived.compiler.problems)


def text(tenants: list[Tenant]) -> str:
    """The rule files, one after the other."""
    lines = []
    for one in tenants:
        lines += [f"# {user}" for user in one.rules_of]
        lines += [f"# rule set {one.digest}", *one.rules, ""]
    return "".join(f"{line}\n" for line in lines)
