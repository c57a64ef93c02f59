"""All flows of a node, computed from scratch.

`engine` does the same incrementally. This module is the plainest statement of the result, and tests compare the two.
Offline commands use it as well.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from msgspec import Struct

from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.programs import Program, ServiceRef
from sluice.dataplane.addresses import NotAnAddress
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.counting import count_flows, is_counted
from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.fqdn import Fact
from sluice.dataplane.ovs.fqdn_values import Opens, fact_values, held_for
from sluice.dataplane.ovs.ids import RuleIds, RuleKey
from sluice.dataplane.ovs.layers import Layer, clause, fate, layer, spot
from sluice.dataplane.ovs.mid_stream import unbegun_of
from sluice.dataplane.ovs.order import BandFull
from sluice.dataplane.ovs.ports import LocalPort, port_flows, rightful
from sluice.dataplane.ovs.priorities import Spot
from sluice.dataplane.ovs.rules import Form, closed_form, forms, placeless
from sluice.dataplane.ovs.sources import (
    Client,
    Named,
    Own,
    Source,
    Value,
    member_values,
    service_values,
    standing_values,
)


class Inputs(Struct, frozen=True, kw_only=True):
    """What a node's flows depend on, apart from the rules' numbers."""

    node: NodeName
    programs: Mapping[tuple[GroupId, Unit], Program]
    pages: Mapping[tuple[GroupId, NodeName], Page]
    """A missing page has no members."""

    ports: Mapping[Uid, LocalPort]
    """The open ports; no two have the same ofport."""

    services: Mapping[ServiceRef, frozenset[int]] = {}
    """Numbers of the Services' ports."""

    facts: frozenset[Fact] = frozenset()
    """What was learnt from DNS."""

    opens: Opens = Opens.RESOLVER

    vlans: Mapping[str, int] = {}
    """VLANs of the inspection engine, by the digest of the rule set that is in force there."""


def lower(inputs: Inputs, ids: RuleIds) -> Flows:
    """All flows of the node. Rules without numbers are assigned some.

    Raises:
        CapacityExceeded: there are more rules than ids.
    """
    flows = dict(BASE)
    for port in inputs.ports.values():
        flows |= port_flows(port, _addresses(port, inputs.ports.values()))
    plain: dict[FlowKey, tuple[RuleKey, FlowBody]] = {}
    clauses: dict[FlowKey, dict[int, Conjunction]] = {}
    for form, where in _placed(inputs, ids):
        number, does = ids.allocate(form.key), fate(form, ids.allocate(form.key), inputs.vlans.get(form.inspected_by))
        for beside, source, body in chain(held_for(form), unbegun_of(form)):
            flows |= dict.fromkeys(_keys(inputs, beside, (source,)), body)
        flows |= count_flows(number) if is_counted(form.action) else {}
        if len(form.clauses) == 1:
            for key in _keys(inputs, where, form.clauses[0]):
                plain[key] = min(plain.get(key, (form.key, does)), (form.key, does))
            continue
        flows[where.conj_key(number)] = does
        for place, sources in enumerate(form.clauses, start=1):
            for key in _keys(inputs, where, sources):
                clauses.setdefault(key, {})[number] = Conjunction(number, place, len(form.clauses))
    flows |= {key: body for key, (_, body) in plain.items()}
    flows |= {key: clause(conjunctions.values()) for key, conjunctions in clauses.items()}
    for key, body in flows.items():
        check(key, body)
    return flows


def _placed(inputs: Inputs, ids: RuleIds) -> Iterator[tuple[Form, Layer]]:
    """All rules, each with its layer."""
    found: list[tuple[Form, Spot | None]] = []
    for _, program in sorted(inputs.programs.items()):
        closed = closed_form(program)
        for form in forms(closed):
            stands = spot(form, ids.lane(ids.allocate(form.key)))
            if stands is None:
                found.append((form, None))
                continue
            try:
                ids.priorities.exchange((), [(stands, form.key)])
                found.append((form, stands))
            except BandFull:
                stand_in = placeless(closed, form.key)
                found += [] if stand_in is None else [(stand_in, None)]
    ids.priorities.settle()
    for form, place in found:
        yield form, layer(form, ids.lane(ids.allocate(form.key)), None if place is None else ids.priorities[place])


def _addresses(port: LocalPort, ports: Iterable[LocalPort]) -> Iterator[Address]:
    """The port's addresses to which no other open port has a better claim."""
    for address in port.addresses:
        if rightful(other for other in ports if address in other.addresses) == port:
            yield address


def _keys(inputs: Inputs, where: Layer, sources: Iterable[Source]) -> set[FlowKey]:
    return {where.key(value) for source in sources for value in _values(inputs, source)}


def _values(inputs: Inputs, source: Source) -> Iterator[Value]:
    yield from standing_values(source)
    if isinstance(source.group, ServiceRef):
        for number in inputs.services.get(source.group, ()):
            yield from service_values(source, number)
    if isinstance(source.place, Named):
        for fact in inputs.facts:
            plug = inputs.ports.get(fact.holder)
            if fact.pattern == source.place.pattern:
                yield from fact_values(source, fact, None if plug is None else plug.ofport, inputs.opens)
    for (group, node), page in inputs.pages.items():
        local = node == inputs.node
        if group == source.group and (local or not isinstance(source.place, Own | Client)):
            for member in page.members:
                port = inputs.ports.get(member.uid) if local else None
                yield from _member_values(source, member, port)


def _member_values(source: Source, member: Member, port: LocalPort | None) -> tuple[Value, ...]:
    try:
        return tuple(member_values(source, member, None if port is None else port.ofport))
    except NotAnAddress:
        return ()  # reported by the engine
