"""Walks a packet through flows: what a switch with these flows would do with it.

Source: ovs-fields(7), "Conjunctive Match Fields": flows with conjunction() are *soft*; when every clause of an id is
met by soft flows of one priority, the table is searched again with conj_id set, without soft flows; if that finds
nothing, soft flows of lower priority and of equal match get their turn. A flow of the same priority that is not soft
wins over soft ones (as in Open vSwitch's lib/classifier.c, which this follows). ovs-actions(7): actions are executed in
order and modify the packet; ct(table=…) forks the packet, and clears the connection state of the one that continues
with the next action; output to the packet's ingress port does nothing, except with IN_PORT. A table without a matching
flow drops the packet (OpenFlow 1.5.1 section 5.4). TTLs are not modelled.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, assert_never

from sluice.dataplane.ovs.fields import VLAN_PRESENT, Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Conjunction,
    Controller,
    Ct,
    DecTtl,
    FlowBody,
    FlowKey,
    Goto,
    Group,
    Groups,
    Learn,
    Meter,
    MoveField,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
)
from sluice.dataplane.ovs.flow import match as match_of
from sluice.testkit.tracker import Packet, Tracker, translate

IN_PORT = 0xFFFFFFF8
_CT_FIELDS = (Field.CT_STATE, Field.CT_ZONE, Field.CT_MARK, Field.CT_LABEL, Field.CT_NW_PROTO, Field.CT_TP_DST)
_MAX_STEPS = 256
"""Most flows that one packet may meet: more than there are tables, so that it must be in a loop beyond that."""


class Sent(NamedTuple):
    port: int
    packet: Mapping[Field, int]
    under_tag: int | None = None
    """VLAN_VID of its second tag."""


class Walk(NamedTuple):
    """What became of a packet."""

    sent: tuple[Sent, ...]
    hits: tuple[FlowKey, ...]
    """The matching flows, in order; for a conjunctive match, the conj_id flow."""

    punted: tuple[bytes, ...]
    """Userdata of the packets sent to the controller."""

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(sent.port for sent in self.sent)


class _Flow(NamedTuple):
    key: FlowKey
    body: FlowBody
    conjunctions: tuple[Conjunction, ...]


_Mask = tuple[tuple[Field, int], ...]


class _Table:
    """Flows by mask, then by value: for one packet, each group has one list of matching flows, by falling priority."""

    def __init__(self) -> None:
        self._groups: dict[_Mask, dict[tuple[int, ...], list[_Flow]]] = {}

    def add(self, flow: _Flow) -> None:
        mask = tuple((term.field, _full(term.field) if term.mask is None else term.mask) for term in flow.key.match)
        value = tuple(term.value for term in flow.key.match)
        flows = self._groups.setdefault(mask, {}).setdefault(value, [])
        flows.append(flow)
        flows.sort(key=lambda flow: -flow.key.priority)

    def matching(self, packet: Packet) -> Iterator[list[_Flow]]:
        for mask, flows in self._groups.items():
            found = flows.get(tuple([packet.get(field, 0) & bits for field, bits in mask]))
            if found:
                yield found


class Walker:
    """A switch with these flows. Keeps connections between packets.

    Args:
        tracker: its connections; pass another walker's to change flows under established connections.
        groups: one bucket of each is executed: number `chosen` (modulo their count).
    """

    def __init__(
        self, flows: Mapping[FlowKey, FlowBody], tracker: Tracker | None = None, groups: Groups | None = None
    ) -> None:
        self.tracker = tracker or Tracker()
        self.groups = groups or {}
        self.chosen = 0
        self.learnt: dict[FlowKey, Actions] = {}
        """Flows learnt from packets, by match; they never expire."""

        self._tables: dict[int, _Table] = {}
        for key, body in flows.items():
            soft = tuple(action for action in body.actions if isinstance(action, Conjunction))
            self._tables.setdefault(key.table, _Table()).add(_Flow(key, body, soft))

    def walk(self, packet: Packet, about: Packet | None = None, table: int = 0) -> Walk:
        """Send a packet in; its fields include its ingress port.

        Args:
            about: the packet that an ICMP error quotes.
            table: the table where it starts.
        """
        run = _Run(self, about)
        run.enter(table, dict(packet))
        return Walk(tuple(run.sent), tuple(run.hits), tuple(run.punted))

    def look_up(self, table: int, packet: Packet) -> FlowKey | None:
        """The table's flow that applies to the packet; None if there is none."""
        flow = self._search(table, packet)
        return None if flow is None else flow.key

    def _search(self, number: int, packet: Packet) -> _Flow | None:
        table = self._tables.get(number)
        return None if table is None else _search(table, packet)


def _search(table: _Table, packet: Packet, *, soft: bool = True) -> _Flow | None:
    hard: _Flow | None = None
    waiting: list[list[_Flow]] = []
    for flows in table.matching(packet):
        if flows[0].conjunctions:
            if soft:
                waiting.append(flows)
        elif hard is None or flows[0].key.priority > hard.key.priority:
            hard = flows[0]
    while True:
        waiting = [flows for flows in waiting if hard is None or flows[0].key.priority > hard.key.priority]
        if not waiting:
            return hard
        priority = max(flows[0].key.priority for flows in waiting)
        tried = [flows for flows in waiting if flows[0].key.priority == priority]
        for met in _met([flows[0] for flows in tried]):
            found = _search(table, {**packet, Field.CONJ_ID: met}, soft=False)
            if found is not None:
                return found
        waiting = [flows for flows in waiting if flows[0].key.priority != priority]
        for flows in tried:
            rest = flows[1:]
            if rest and rest[0].conjunctions:
                waiting.append(rest)
            elif rest and (hard is None or rest[0].key.priority > hard.key.priority):
                hard = rest[0]


def _met(flows: list[_Flow]) -> Iterator[int]:
    """Ids whose clauses are all met by these flows."""
    clauses: dict[int, set[int]] = {}
    for flow in flows:
        for conjunction in flow.conjunctions:
            # A flow meets one clause of an id: an id with more clauses than there are flows cannot be met.
            if conjunction.clauses <= len(flows):
                met = clauses.setdefault(conjunction.id, set())
                met.add(conjunction.clause)
                if len(met) == conjunction.clauses:
                    yield conjunction.id


class _Run:
    """The path of one packet and of its forks."""

    def __init__(self, walker: Walker, about: Packet | None) -> None:
        self._walker = walker
        self._about = about
        self.sent: list[Sent] = []
        self.hits: list[FlowKey] = []
        self.punted: list[bytes] = []
        self._under_tag: int | None = None

    def enter(self, table: int, packet: dict[Field, int]) -> None:
        assert len(self.hits) < _MAX_STEPS, f"the packet goes round: {self.hits[-3:]}"
        for learnt, gives in self._walker.learnt.items():
            if learnt.table == table and all(packet.get(field, 0) == value for field, value, _ in learnt.match):
                self._do(gives, packet)
        flow = self._walker._search(table, packet)  # noqa: SLF001  # one module, two classes
        if flow is not None:
            self.hits.append(flow.key)
            self._do(flow.body.actions, packet)

    def _do(self, actions: Actions, packet: dict[Field, int]) -> None:
        for action in actions:
            match action:
                case Output(port):
                    self._output(port, packet)
                case OutputField(field):
                    self._output(packet.get(field, 0), packet)
                case SetField() | MoveField():
                    _change(action, packet)
                case PushVlan():
                    self._under_tag = packet.get(Field.VLAN_VID)
                    packet[Field.VLAN_VID] = VLAN_PRESENT
                case PopVlan():
                    below, self._under_tag = self._under_tag, None
                    del packet[Field.VLAN_VID]
                    packet |= {} if below is None else {Field.VLAN_VID: below}
                case DecTtl() | Conjunction() | Meter():
                    pass
                case Ct():
                    self._track(action, packet)
                case Resubmit(table):
                    self.enter(table, packet)
                case Goto(table):
                    self.enter(table, packet)
                    return
                case Group(number):
                    buckets = self._walker.groups[number]
                    if buckets:
                        self._do(buckets[self._walker.chosen % len(buckets)], dict(packet))
                case Learn():
                    same = ((field, packet.get(field, 0)) for field in action.same)
                    key = FlowKey(action.table, action.priority, match_of(*action.exact, *same))
                    self._walker.learnt[key] = tuple(SetField(field, packet.get(field, 0)) for field in action.gives)
                case Controller(userdata):
                    self.punted.append(userdata)
                case _:
                    assert_never(action)

    def _output(self, port: int, packet: dict[Field, int]) -> None:
        here = packet.get(Field.IN_PORT, 0)
        if port == IN_PORT:
            self.sent.append(Sent(here, dict(packet), self._under_tag))
        elif port not in (here, 0):
            self.sent.append(Sent(port, dict(packet), self._under_tag))

    def _track(self, action: Ct, packet: dict[Field, int]) -> None:
        tracker = self._walker.tracker
        if action.commit:
            connection = tracker.commit(action.zone, packet, action.nat)
            inner = {**packet, Field.CT_MARK: connection.mark, Field.CT_LABEL: connection.label}
            for step in action.exec:
                _change(step, inner)
            connection.mark, connection.label = inner[Field.CT_MARK], inner[Field.CT_LABEL]
        if action.table is not None:
            found = tracker.look_up(action.zone, packet, self._about)
            known = (0, 0, 0, 0)
            if found.connection:
                original = found.connection.original
                known = (found.connection.mark, found.connection.label, original.proto, original.target_port)
            if action.nat is not None:
                translate(packet, found)
            tracked = zip(_CT_FIELDS, (found.state, action.zone, *known), strict=True)
            self.enter(action.table, packet | dict(tracked))
        for field in _CT_FIELDS:
            packet.pop(field, None)


def _change(action: SetField | MoveField, packet: dict[Field, int]) -> None:
    match action:
        case SetField(field, value, mask):
            bits = _full(field) if mask is None else mask
            packet[field] = packet.get(field, 0) & ~bits | value & bits
        case MoveField(source, target, bits, source_offset, target_offset):
            mask = (1 << bits) - 1
            value = packet.get(source, 0) >> source_offset & mask
            packet[target] = packet.get(target, 0) & ~(mask << target_offset) | value << target_offset
        case _:
            assert_never(action)


def _full(field: Field) -> int:
    return (1 << field.spec.bits) - 1
