"""Whose named ports count where a rule names no peers.

The name of a port is a number at each Pod that declares it, and at nobody else. An egress rule without peers that names
a port is therefore about every Pod of the cluster that has such a port: its translation makes the group of all Pods,
and who lowers the rule looks the name up there. Ports that are numbers, and rules of ingress, need none of that.
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
