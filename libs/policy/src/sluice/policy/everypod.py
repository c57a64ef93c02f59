"""Which Pods a named port refers to where a rule names no peers.

A port name has a number only at the Pods that declare it. So an egress rule that names a port but no peers is about
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
    """The rule has a port that is a name."""
    return any(map(is_named, rule.traffic or ()))


def asks_every_pod(rule: Rule) -> bool:
    """The rule means what Pods anywhere call a port."""
    return rule.direction is Direction.EGRESS and rule.peers is None and names_ports(rule)
