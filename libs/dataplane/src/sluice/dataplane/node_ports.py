"""How a node's network stack hands NodePorts to the switch: policy routing rules, and the difference to those in place.

Before all other rules, the kernel looks into the table `local`, by which it keeps what is sent to its own addresses. We
move that lookup behind our rules, which send such packets to a table of ours first. That table has routes to the node's
addresses by its gateway and nothing else, so traffic that the node forwards is not affected. What the node itself
sends, and what comes from the switch, looks into `local` first as before.

Source: ip-rule(8); linux/fib_rules.h.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from sluice.dataplane.protocols import IpProto

LOCAL = 255
"""Source: linux/rtnetlink.h, RT_TABLE_LOCAL."""

TABLE = 5100
"""Of our routes; any that nobody else uses."""

MARK = 0x51
"""The protocol of our rules, and nobody else's: by it we know them. Source: linux/fib_rules.h, FRA_PROTOCOL."""

KERNEL = 2
"""That of rules that the kernel made. Source: linux/rtnetlink.h, RTPROT_KERNEL."""


class Rule(NamedTuple):
    """A rule of a routing policy, as far as it is one that we would make."""

    pref: int
    """The lowest is asked first."""

    table: int
    protocol: int
    """Who made it."""

    comes_from: str = ""
    """An interface, `lo` for the node itself; empty: wherever from."""

    transport: int = 0
    """IP protocol; 0 is any."""

    ports: str = ""
    """Destination ports, both ends included: `30000:32767`; empty: any."""


class Verb(Enum):
    ADD = "add"
    DELETE = "del"


FIRST = Rule(0, LOCAL, KERNEL)
"""What every network namespace begins with."""

LATER = Rule(4, LOCAL, KERNEL)
"""The same after ours. It is said to be the kernel's, for it must stay where somebody (systemd-networkd) removes all
rules that he does not know: without it the node would have no address of its own."""


def rules(ports: str, gateway: str) -> tuple[Rule, ...]:
    """The rules that hand these ports over, and no other; none if there are no ports."""
    if not ports:
        return (FIRST,)
    handed = (Rule(3, TABLE, MARK, transport=each, ports=ports) for each in (IpProto.TCP, IpProto.UDP, IpProto.SCTP))
    return (Rule(1, LOCAL, MARK, comes_from="lo"), Rule(2, LOCAL, MARK, comes_from=gateway), *handed, LATER)


def plan(wanted: Iterable[Rule], actual: Iterable[Rule]) -> tuple[tuple[Verb, Rule], ...]:
    """What makes the actual rules the wanted ones, in this order; rules of others stay.

    After each step a packet goes where it went before, or where it is to go: some rule looks into `local` all the time,
    and until FIRST goes no other of ours is asked.
    """
    should, there = set(wanted), set(actual)
    missing = sorted(should - there, key=lambda rule: (rule != FIRST, -rule.pref, rule))
    extra = sorted((rule for rule in there - should if _ours(rule)), key=lambda rule: (rule == LATER, rule))
    return (*((Verb.ADD, rule) for rule in missing), *((Verb.DELETE, rule) for rule in extra))


def _ours(rule: Rule) -> bool:
    return rule.protocol == MARK or rule in (FIRST, LATER)


def written(text: str) -> str:
    """The range as rules have it, of what people write: `30000-32767`, or one port; empty stays empty.

    Raises:
        ValueError: it is none.
    """
    if not text:
        return ""
    first, dash, last = text.partition("-")
    low, high = int(first), int(last if dash else first)
    if not 1 <= low <= high <= 0xFFFF:
        raise ValueError(f"{text!r} is no range of ports; write 30000-32767, or nothing where none are handed over")
    return f"{low}:{high}"
