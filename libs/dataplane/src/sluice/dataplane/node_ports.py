"""How a node's network stack hands NodePorts to the switch: policy routing rules, and the plan to install them.

Before all other rules, the kernel looks up the table `local`, through which it receives packets to its own addresses.
We move that lookup behind our rules, which first send such packets to our table. That table only has routes to the
node's own addresses via its gateway, so traffic that the node forwards is not affected. Packets from the node itself
and from the switch are looked up in `local` first as before.

Source: ip-rule(8); linux/fib_rules.h.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from sluice.dataplane.protocols import IpProto

LOCAL = 255
"""Source: linux/rtnetlink.h, RT_TABLE_LOCAL."""

TABLE = 5100
"""The table of our routes; any number that nobody else uses."""

MARK = 0x51
"""The protocol of our rules only, which identifies them. Source: linux/fib_rules.h, FRA_PROTOCOL."""

KERNEL = 2
"""Protocol of rules that the kernel created. Source: linux/rtnetlink.h, RTPROT_KERNEL."""


class Rule(NamedTuple):
    """A policy routing rule, with the properties that ours have."""

    pref: int
    """Priority: the lowest is evaluated first."""

    table: int
    protocol: int
    """The rule's creator."""

    comes_from: str = ""
    """Incoming interface, `lo` for the node itself; empty: any."""

    transport: int = 0
    """IP protocol; 0 is any."""

    ports: str = ""
    """Destination ports, both ends included: `30000:32767`; empty: any."""


class Verb(Enum):
    ADD = "add"
    DELETE = "del"


FIRST = Rule(0, LOCAL, KERNEL)
"""Present in every new network namespace."""

LATER = Rule(4, LOCAL, KERNEL)
"""The same lookup behind our rules. It claims to be the kernel's, because it must survive a daemon (systemd-networkd)
that removes all unknown rules: without it, the node would have no address of its own."""


def rules(ports: str, gateway: str) -> tuple[Rule, ...]:
    """Exactly the rules that hand these ports over; without ports, only the initial rule."""
    if not ports:
        return (FIRST,)
    handed = (Rule(3, TABLE, MARK, transport=each, ports=ports) for each in (IpProto.TCP, IpProto.UDP, IpProto.SCTP))
    return (Rule(1, LOCAL, MARK, comes_from="lo"), Rule(2, LOCAL, MARK, comes_from=gateway), *handed, LATER)


def plan(wanted: Iterable[Rule], actual: Iterable[Rule]) -> tuple[tuple[Verb, Rule], ...]:
    """Steps from the actual rules to the wanted ones, in this order; foreign rules stay.

    After each step, a packet goes where it went before or where it will go: there is always a rule that looks up
    `local`, and as long as FIRST exists, none of our others is reached.
    """
    should, there = set(wanted), set(actual)
    missing = sorted(should - there, key=lambda rule: (rule != FIRST, -rule.pref, rule))
    extra = sorted((rule for rule in there - should if _ours(rule)), key=lambda rule: (rule == LATER, rule))
    return (*((Verb.ADD, rule) for rule in missing), *((Verb.DELETE, rule) for rule in extra))


def _ours(rule: Rule) -> bool:
    return rule.protocol == MARK or rule in (FIRST, LATER)


def written(text: str) -> str:
    """The range in the syntax of rules, from `30000-32767` or one port; empty stays empty.

    Raises:
        ValueError: it is not a range of ports.
    """
    if not text:
        return ""
    first, dash, last = text.partition("-")
    low, high = int(first), int(last if dash else first)
    if not 1 <= low <= high <= 0xFFFF:
        raise ValueError(f"{text!r} is not a range of ports; write 30000-32767, or leave it empty to hand over none")
    return f"{low}:{high}"
