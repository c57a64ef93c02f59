"""FQDN rules as flows: the addresses that facts bring to them, and the DNS answers held back for them.

A rule that drops or rejects applies to an address for all its Pods once anybody on the node was told. A rule that
allows or passes opens the address only to the Pod that was told (`Opens`), as one value of port and address together.

While such a rule exists, DNS answers to its Pods are held back: a flow for each of their addresses leads to the tables
that hold them. On the way is a group with one bucket, whose only purpose is that Open vSwitch looks packets up again
behind it. Otherwise packets would be handed over before the datapath reaches the meter, which then would drop nothing.
Source: Open vSwitch ofproto/ofproto-dpif-xlate.c, pick_dp_hash_select_group, and ctx->pause in finish_freezing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TypeVar

from sluice.contracts.ids import Uid
from sluice.contracts.programs import PortRange, TransportTraffic
from sluice.dataplane.addresses import address
from sluice.dataplane.dns.message import PORT
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.errand import Meter as MeterId
from sluice.dataplane.ovs.flow import Controller, FlowBody, Goto, Group, Groups, Meter, Resubmit
from sluice.dataplane.ovs.fqdn import NODE, Fact
from sluice.dataplane.ovs.layers import Layer
from sluice.dataplane.ovs.pipeline import PRIORITY, Table
from sluice.dataplane.ovs.rules import Form
from sluice.dataplane.ovs.sources import Client, Named, Source, Value, at_block

DNS_GROUP = 3
"""Number of the group that DNS answers go through. Groups of Services have numbers from 4."""

K = TypeVar("K")


class Opens(StrEnum):
    """To which of its Pods a rule that allows a name opens an address."""

    RESOLVER = "resolver"
    """The Pod that was told the address."""

    AHEAD = "ahead"
    """The Pod that was told; all Pods if the node itself was, which resolves names without wildcards ahead of time."""

    NODE = "node"
    """All Pods, whoever on the node was told."""


def fact_values(of: Source, fact: Fact, ofport: int | None, opens: Opens) -> Iterator[Value]:
    """The values that the fact brings to a source of this pattern.

    Args:
        ofport: the holder's open port on this node, if it has one.
    """
    assert isinstance(of.place, Named), f"{of} has no names"
    for_all = not of.place.opens or opens is Opens.NODE or (fact.holder == NODE and opens is Opens.AHEAD)
    if for_all or ofport is not None:
        for value in at_block(address(fact.address), of.traffic, ()):
            yield value if for_all else value._replace(ofport=ofport)


def held_for(form: Form) -> Iterator[tuple[Layer, Source, FlowBody]]:
    """What holds back DNS answers to the rule's Pods, if it is about names."""
    if any(True for _ in names_of(form)):
        yield _CLIENTS, Source(Client(form.key.applied_to), None), _TO_ANSWERS
        for traffic in _ANSWERS_OF:
            yield _ANSWERS, Source(None, traffic), _LIMIT
        yield _HELD, Source(None, None), _HOLD


def names_of(form: Form) -> Iterator[Named]:
    """The places of the rule that are given by name."""
    return (of.place for sources in form.clauses for of in sources if isinstance(of.place, Named))


HOLDING: Groups = {DNS_GROUP: ((Resubmit(Table.DNS_HOLD),),)}
"""The group that DNS answers go through; in the switch while a rule is about names."""


class Facts:
    """The facts that hold, by pattern and by holder."""

    def __init__(self) -> None:
        self._of_pattern: dict[str, set[Fact]] = {}
        self._of_pod: dict[Uid, set[Fact]] = {}

    def of_pattern(self, pattern: str) -> Iterable[Fact]:
        return self._of_pattern.get(pattern, ())

    def of_pod(self, uid: Uid) -> Iterable[Fact]:
        return self._of_pod.get(uid, ())

    def put(self, fact: Fact, *, true: bool) -> bool:
        """Record that the fact is true, or that it is not; returns True if that is a change."""
        if (fact in self._of_pattern.get(fact.pattern, ())) == true:
            return False
        _toggle(self._of_pattern, fact.pattern, fact)
        _toggle(self._of_pod, fact.holder, fact)
        return True


def _toggle(facts: dict[K, set[Fact]], key: K, fact: Fact) -> None:
    of = facts.setdefault(key, set())
    of ^= {fact}
    if not of:
        del facts[key]


class WantedNames:
    """The patterns that rules have."""

    def __init__(self) -> None:
        self._rules: Counter[Named] = Counter()
        self._changed: set[str] = set()

    def change(self, old: Iterable[Form], new: Iterable[Form]) -> None:
        """Rules changed from the old forms to the new ones, whether or not they have a place in their table yet."""
        for forms, by in ((old, -1), (new, 1)):
            for place in (place for form in forms for place in set(names_of(form))):
                self._rules[place] += by
                self._changed.add(place.pattern)

    def __bool__(self) -> bool:
        return any(self._rules.values())

    def drain(self) -> Iterator[tuple[str, bool | None]]:
        """Patterns that changed since the last call: whether a rule drops or rejects by it; None: no rule has it."""
        changed, self._changed = self._changed, set()
        for pattern in sorted(changed):
            closing, opening = (self._rules[Named(pattern, opens)] for opens in (False, True))
            for opens in (False, True):
                if not self._rules[Named(pattern, opens)]:
                    del self._rules[Named(pattern, opens)]
            yield pattern, bool(closing) if closing or opening else None


_COOKIE = cookies.pack(CookieKind.FQDN)
_CLIENTS = Layer(Table.DNS_CLIENT.value, PRIORITY)
_ANSWERS = Layer(Table.DNS_ANSWER.value, PRIORITY)
_HELD = Layer(Table.DNS_HOLD.value, PRIORITY)
_TO_ANSWERS = FlowBody((Goto(Table.DNS_ANSWER),), _COOKIE)
_LIMIT = FlowBody((Meter(MeterId.DNS.value), Group(DNS_GROUP)), _COOKIE)
_HOLD = FlowBody((Controller(userdata=bytes((Errand.DNS,)), pause=True), Goto(Table.FORWARD)), _COOKIE)
_ANSWERS_OF = tuple(
    TransportTraffic(protocol=protocol, source_ports=PortRange(PORT, PORT)) for protocol in ("TCP", "UDP")
)
