"""The path through the inspection engine, for connections that a rule with `l7Protocols` allowed out or in.

What enters the engine's first port leaves by its second, or not at all; its resets leave there as well. A VLAN tag
selects the rule set. Both directions of a connection take this path, each with the addresses of the two ends: after a
Service's address was translated, and before that is undone. If both ends' rules are on this node, a packet takes the
path twice, first for the sender's rule.

A packet carries its metadata in its MAC addresses, which nobody needs on this path: the source MAC holds flags and the
port it came from, the destination MAC the VLAN that is next. A reset that the engine sends to the sender has the two
swapped, by which it is recognised. The first octet says which is which, so each way back is known without state.

A connection whose rule is gone has nothing to judge it: its next packet ends it, and both ends are reset.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.conntrack import (
    CT_ZONE,
    LABEL_TAG,
    MARK_DEAD,
    MARK_INSPECTED,
    MARK_INSPECTION,
    MARK_LET_IN,
    MARK_SERVED,
    MARK_VLANS,
    VLAN_BITS,
)
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.counting import COUNT_EACH, RECALL_RULES, REMEMBER_RULES
from sluice.dataplane.ovs.errand import Errand, Meter
from sluice.dataplane.ovs.fields import TCP_RST, VLAN_PRESENT, CtState, Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Controller,
    Ct,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Match,
    MoveField,
    Nat,
    Output,
    PopVlan,
    PushVlan,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.pipeline import PRIORITY, PRIORITY_FIRST, Table
from sluice.dataplane.ovs.registers import (
    ACCEPTED,
    ANSWER,
    CONNECTION_TAG,
    FLAGS,
    FROM_TUNNEL,
    INSPECTED,
    JUDGED,
    L7_VLANS,
    SERVED,
    TAG_BITS,
)
from sluice.dataplane.protocols import EthType, IpProto

_IP = (EthType.IPV4, EthType.IPV6)
_VLAN_MASK = (1 << VLAN_BITS) - 1

_KIND = 40
"""First bit of a MAC's first octet, which says whose it is."""

_CLIENT, _SERVER = 0x02, 0x06
_RECEIVES = 0x10
"""Bit of that octet; unset: this end sent the packet. The octet's two lowest bits are those of a locally administered
unicast MAC. Source: IEEE 802-2014 section 8.2.2."""

_FLAGS_AT, _IN_PORT_AT = 16, 0
"""First bits of the fields in the sender's MAC, 16 bits each."""

_NEXT_VLAN_AT = 16
"""First bit of the VLAN in the receiver's MAC, 12 bits; the connection's tag follows."""

PRIORITY_INSPECTED = PRIORITY_FIRST + 50
"""Above what these tables do with connections that are not inspected."""

PRIORITY_JUDGED = PRIORITY_FIRST + 100
"""Above what these tables do with other packets, whatever the tracker thinks of the sequence numbers: it saw the
packets before they went through the engine."""

RESET_BOTH = Controller(userdata=bytes((Errand.L7,)), meter_id=Meter.L7.value)

TELL_RESET = Controller(userdata=bytes((Errand.L7_RESET,)), meter_id=Meter.L7_RESET.value)
"""Tells the programmer to give new connections another tag."""

TAG_FLOWS = frozenset(FlowKey(Table.L7_TAG, PRIORITY, match((Field.ETH_TYPE, version))) for version in _IP)
"""Keys of the flows that give connections their tag."""

TAGS = (1 << TAG_BITS) - 2
"""From 1; 0 and the last number are no valid VLANs. The engine identifies a connection by its tags, addresses and
ports. It drops the packets of one that it rejected for as long as it remembers it, five minutes from its last packet.
A new connection with the same ports must therefore have another tag."""

_MARKS = Term(Field.CT_MARK, MARK_LET_IN | MARK_INSPECTED, MARK_LET_IN | MARK_INSPECTED | MARK_DEAD)
_INSPECTED = Term(Field.CT_MARK, MARK_INSPECTED, MARK_INSPECTED)
_IS_DEAD = Term(Field.CT_MARK, MARK_INSPECTED | MARK_DEAD, MARK_INSPECTED | MARK_DEAD)
_RESET = Term(Field.TCP_FLAGS, TCP_RST, TCP_RST)
_ORIGINAL = Term(Field.CT_STATE, CtState.TRK | CtState.EST, CtState.TRK | CtState.EST | CtState.NEW | CtState.RPL)
_REPLY = Term(
    Field.CT_STATE, CtState.TRK | CtState.EST | CtState.RPL, CtState.TRK | CtState.EST | CtState.NEW | CtState.RPL
)
_ASK_AND_TRANSLATE = Ct(zone=CT_ZONE, table=Table.CONNTRACK_STATE, nat=Nat())


def _bit(flag: int) -> int:
    return flag.bit_length() - 1


def _tcp(version: int) -> tuple[Term, Term]:
    return Term(Field.ETH_TYPE, version), Term(Field.IP_PROTO, IpProto.TCP)


def _flag(on: int, off: int = 0) -> Term:
    return Term(FLAGS, on, on | off)


_SERVED_AS_MARKED = MoveField(Field.CT_MARK, FLAGS, 1, _bit(MARK_SERVED), _bit(SERVED))

_COMMIT = Ct(
    zone=CT_ZONE,
    commit=True,
    exec=(
        SetField(Field.CT_MARK, MARK_LET_IN | MARK_INSPECTED, MARK_LET_IN | MARK_INSPECTION),
        MoveField(L7_VLANS, Field.CT_MARK, 2 * VLAN_BITS, target_offset=MARK_VLANS),
        MoveField(CONNECTION_TAG, Field.CT_LABEL, TAG_BITS, 0, LABEL_TAG),
        *REMEMBER_RULES,
    ),
)
_RECALL_TAG = MoveField(Field.CT_LABEL, CONNECTION_TAG, TAG_BITS, LABEL_TAG)

_ONWARD: Actions = (
    SetField(FLAGS, ACCEPTED, ACCEPTED),
    _SERVED_AS_MARKED,
    MoveField(Field.CT_MARK, L7_VLANS, 2 * VLAN_BITS, MARK_VLANS),
    _RECALL_TAG,
    *RECALL_RULES,
    *COUNT_EACH,
    Goto(Table.L7_SEND),
)
"""Counts the packet, because what is known of its connection does not return from the engine with it."""

_BACKWARD: Actions = (
    SetField(FLAGS, ANSWER, ANSWER),
    _SERVED_AS_MARKED,
    MoveField(Field.CT_MARK, L7_VLANS, VLAN_BITS, MARK_VLANS + VLAN_BITS, 0),
    MoveField(Field.CT_MARK, L7_VLANS, VLAN_BITS, MARK_VLANS, VLAN_BITS),
    _RECALL_TAG,
    *RECALL_RULES,
    *COUNT_EACH,
    Goto(Table.L7_SEND),
)

DELIVER: Actions = (
    SetField(FLAGS, ACCEPTED | ANSWER, ACCEPTED | ANSWER | FROM_TUNNEL | JUDGED),
    Goto(Table.DNS_CLIENT),
)

_BURY = Ct(zone=CT_ZONE, commit=True, exec=(SetField(Field.CT_MARK, MARK_DEAD, MARK_DEAD),))


def _send(sender: int, receiver: int, *, shifted: bool) -> Actions:
    """Store the packet's metadata in its MACs. `shifted`: L7_VLANS has only a second VLAN, which becomes the first."""
    shift = (
        MoveField(L7_VLANS, L7_VLANS, VLAN_BITS, VLAN_BITS, 0),
        SetField(L7_VLANS, 0, _VLAN_MASK << VLAN_BITS),
    )
    return (
        *(shift if shifted else ()),
        SetField(Field.ETH_SRC, sender << _KIND),
        MoveField(FLAGS, Field.ETH_SRC, 16, 0, _FLAGS_AT),
        MoveField(Field.IN_PORT, Field.ETH_SRC, 16, 0, _IN_PORT_AT),
        SetField(Field.ETH_DST, (receiver | _RECEIVES) << _KIND),
        MoveField(L7_VLANS, Field.ETH_DST, VLAN_BITS, VLAN_BITS, _NEXT_VLAN_AT),
        MoveField(CONNECTION_TAG, Field.ETH_DST, TAG_BITS, 0, _NEXT_VLAN_AT + VLAN_BITS),
        Goto(Table.L7_VLAN),
    )


_RESTORE: Actions = (
    MoveField(Field.ETH_SRC, FLAGS, 16, _FLAGS_AT, 0),
    MoveField(Field.ETH_SRC, Field.IN_PORT, 16, _IN_PORT_AT, 0),
    MoveField(Field.ETH_DST, L7_VLANS, VLAN_BITS, _NEXT_VLAN_AT, 0),
    MoveField(Field.ETH_DST, CONNECTION_TAG, TAG_BITS, _NEXT_VLAN_AT + VLAN_BITS),
    Goto(Table.L7_NEXT),
)


def _from(kind: int) -> Term:
    return Term(Field.ETH_SRC, kind << _KIND, 0xFF << _KIND)


def _standing() -> Iterator[tuple[Table, int, Match, Actions]]:
    nothing_next = Term(L7_VLANS, 0, _VLAN_MASK)
    tagged = match((Field.VLAN_VID, VLAN_PRESENT, VLAN_PRESENT))
    yield Table.L7_UNTAG, PRIORITY, tagged, (PopVlan(), Goto(Table.L7_UNTAG_AGAIN))
    yield Table.L7_UNTAG_AGAIN, PRIORITY, tagged, (PopVlan(), Goto(Table.L7_RETURN))
    for version in _IP:
        tcp, ip = _tcp(version), Term(Field.ETH_TYPE, version)
        for end in (_CLIENT, _SERVER):
            yield Table.L7_RETURN, PRIORITY, match(*tcp, _from(end)), _RESTORE
        reset = match(*tcp, _from(_CLIENT | _RECEIVES))
        yield Table.L7_RETURN, PRIORITY, reset, (Goto(Table.L7_NEXT),)
        reset = match(*tcp, _from(_SERVER | _RECEIVES))
        yield Table.L7_RETURN, PRIORITY, reset, (SetField(FLAGS, ANSWER, ANSWER), Goto(Table.L7_NEXT))

        judged = SetField(FLAGS, JUDGED, JUDGED)
        served = match(ip, nothing_next, _flag(ANSWER | SERVED))
        yield Table.L7_NEXT, PRIORITY, served, (judged, _ASK_AND_TRANSLATE)
        yield Table.L7_ANSWER, PRIORITY, match(ip, (Field.CT_MARK, MARK_SERVED, MARK_SERVED)), (_ASK_AND_TRANSLATE,)
        for table in (Table.L7_ANSWER, Table.WATCHED):
            yield table, PRIORITY_INSPECTED + 1, match(*tcp, _IS_DEAD), (RESET_BOTH,)
            yield table, PRIORITY_INSPECTED + 2, match(*tcp, _IS_DEAD, _RESET), ()
        # The tracker finds a connection by packets that are not translated back yet, so it is marked dead before that.
        reset = match(*tcp, nothing_next, _flag(ANSWER), _RESET)
        yield Table.L7_NEXT, PRIORITY + 1, reset, (TELL_RESET, judged, Ct(zone=CT_ZONE, table=Table.L7_ANSWER))
        ended = match(*tcp, _flag(JUDGED), _INSPECTED)
        yield Table.L7_ANSWER, PRIORITY_JUDGED, ended, (_BURY, _ASK_AND_TRANSLATE)
        yield Table.EGRESS_L7, PRIORITY, match(*tcp), (Goto(Table.FORWARD),)
        new = Term(Field.CT_STATE, CtState.TRK | CtState.NEW, CtState.TRK | CtState.NEW)
        yield Table.COMMIT, PRIORITY_FIRST + 1, match(*tcp, new, _flag(INSPECTED)), (Goto(Table.L7_TAG),)
    onward = SetField(FLAGS, ACCEPTED, ACCEPTED | INSPECTED), Goto(Table.FORWARD)
    yield Table.L7_NEXT, PRIORITY, match(nothing_next, _flag(0, ANSWER)), onward
    yield Table.L7_NEXT, PRIORITY, match(nothing_next, _flag(ANSWER, SERVED)), DELIVER
    for table in (Table.L7_ANSWER, Table.WATCHED):
        yield table, PRIORITY_INSPECTED, match(_REPLY, _MARKS), _BACKWARD
    yield Table.CONNTRACK_STATE, PRIORITY_JUDGED + 1, match(_flag(JUDGED), _INSPECTED), DELIVER
    yield Table.CONNTRACK_STATE, PRIORITY_JUDGED, match(_flag(JUDGED)), ()
    yield Table.CONNTRACK_STATE, PRIORITY, match(_ORIGINAL, _MARKS), _ONWARD
    yield Table.COMMIT, PRIORITY_FIRST, match(_flag(INSPECTED)), ()
    for answers, ends in ((0, (_CLIENT, _SERVER)), (ANSWER, (_SERVER, _CLIENT))):
        way = _flag(answers, ANSWER)
        yield Table.L7_SEND, PRIORITY, match(way), _send(*ends, shifted=False)
        yield Table.L7_SEND, PRIORITY + 1, match(way, nothing_next), _send(*ends, shifted=True)
    yield Table.EGRESS_L7, 0, (), ()


AS_JUDGED: Actions = (SetField(FLAGS, JUDGED, JUDGED), _ASK_AND_TRANSLATE)
"""Has a packet of a known connection go on as if it had returned from the engine, in either direction."""


def _flows(lines: Iterable[tuple[Table, int, Match, Actions]], kind: CookieKind, number: int = 0) -> Flows:
    cookie = cookies.pack(kind, number)
    return {FlowKey(table, priority, a_match): FlowBody(actions, cookie) for table, priority, a_match, actions in lines}


DETOUR: Flows = _flows(_standing(), CookieKind.BASE)
"""Flows that are always installed. Without an engine, what gets here is dropped."""


class EnginePorts(NamedTuple):
    """OpenFlow ports of the node's inspection engine."""

    into: int
    out: int


def lower_detour(ports: EnginePorts | None, vlans: frozenset[int], tag: int, deserted: Collection[int] = ()) -> Flows:
    """The additional flows while the engine's ports exist.

    Args:
        vlans: those whose rules are in force.
        tag: that of new connections; 0: they have none, because the switch does not parse two tags.
        deserted: VLANs whose rule is gone, but which connections may still have.
    """
    if ports is None:
        return {}
    flows = _flows(_ways(ports, tag), CookieKind.UPLINK, ports.out)
    for vlan in vlans:
        tagged = (PushVlan(), MoveField(CONNECTION_TAG, Field.VLAN_VID, TAG_BITS)) if tag else ()
        does = *tagged, PushVlan(), SetField(Field.VLAN_VID, VLAN_PRESENT | vlan), Output(ports.into)
        line = Table.L7_VLAN, PRIORITY, match((L7_VLANS, vlan, _VLAN_MASK)), does
        flows |= _flows((line,), CookieKind.L7, vlan)
    for vlan in deserted:
        flows |= _flows(_ends(vlan), CookieKind.UPLINK, ports.out)
    return flows


def _ways(ports: EnginePorts, tag: int) -> Iterator[tuple[Table, int, Match, Actions]]:
    yield Table.CLASSIFIER, PRIORITY, match((Field.IN_PORT, ports.out)), (Goto(Table.L7_UNTAG),)
    tagging = SetField(CONNECTION_TAG, tag)
    for key in TAG_FLOWS:
        yield Table.L7_TAG, key.priority, key.match, (tagging, _COMMIT, Goto(Table.L7_SEND))
    for version in _IP:
        for table in (Table.CONNTRACK, Table.UNMASKED):
            asked = match((Field.ETH_TYPE, version))
            yield table, PRIORITY + 1, asked, (Ct(zone=CT_ZONE, table=Table.L7_ANSWER),)


def _ends(vlan: int) -> Iterator[tuple[Table, int, Match, Actions]]:
    """End connections on this VLAN with their next packet, whether it is of the rule that allowed them out or in."""
    for first in (MARK_VLANS, MARK_VLANS + VLAN_BITS):
        mask = MARK_INSPECTED | MARK_DEAD | _VLAN_MASK << first
        bears = Term(Field.CT_MARK, MARK_INSPECTED | vlan << first, mask)
        for version, table in product(_IP, (Table.L7_ANSWER, Table.WATCHED)):
            yield table, PRIORITY_INSPECTED + 1, match(*_tcp(version), bears), (_BURY, RESET_BOTH)


class Detour:
    """The same, maintained incrementally: yields what changes as (flow, its current body; None: gone)."""

    def __init__(self) -> None:
        self._flows: Flows = {}

    def use(
        self, ports: EnginePorts | None, vlans: Mapping[str, int], tag: int, deserted: Collection[int] = ()
    ) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """The engine has exactly these ports, and these VLANs by the digest of their rules; see `lower_detour`."""
        before, self._flows = self._flows, lower_detour(ports, frozenset(vlans.values()), tag, deserted)
        for key in before.keys() - self._flows.keys():
            yield key, None
        for key, body in self._flows.items():
            if before.get(key) != body:
                yield key, body
