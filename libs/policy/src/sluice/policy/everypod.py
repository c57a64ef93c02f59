"""Which Pods a named port refers to in a rule without peers.

A port name has a number only at the Pods that declare it. So an egress rule with a named port and no peers is about
every Pod of the cluster that declares such a port: its translation creates the group of all Pods, and the lowering
looks up the name there. Numeric ports and ingress rules do not need this.
"""

from sluice.contracts.programs import Direction, Rule, Traffic, TransportTraffic
from sluice.grouping.selectors import GroupSelector, SelectorTerm
from sluice.policy.groupid import group_id

EVERY_POD = GroupSelector(terms=(SelectorTerm(),))
EVERY_POD_ID = group_id(EVERY_POD)


def is_named(traffic: Traffic) -> bool:
    return isinstance(traffic, TransportTraffic) and isinstance(traffic.ports, str)


def names_ports(rule: Rule) -> bool:
    """Whether the rule has a named port."""
    return any(map(is_named, rule.traffic or ()))


def asks_every_pod(rule: Rule) -> bool:
    """Whether the rule's named ports may be those of any Pod."""
    return rule.direction is Direction.EGRESS and rule.peers is None and names_ports(rule)
