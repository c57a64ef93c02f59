"""The order of rules: the lower key wins, and no two rules of the same direction have the same key."""

from typing import NamedTuple

from sluice.contracts.programs import Program, Rule


class Order(NamedTuple):
    """Total, and the same on every node, so that conflicts at equal priority are resolved the same way everywhere."""

    tier: int
    priority: float
    rule: int
    """Its index in the policy's list of rules for the direction."""

    kind: str
    namespace: str
    name: str


def order(program: Program, rule: Rule) -> Order:
    origin = program.origin
    return Order(program.tier, program.priority, rule.index, origin.kind, origin.namespace, origin.name)
