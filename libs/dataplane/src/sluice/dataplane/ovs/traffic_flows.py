"""The flows of TrafficControls: whose packets are mirrored or redirected, and how redirected packets return.

A packet comes here on its way out, after policy has allowed it: dropped packets are not seen. It is copied first, once
to each target. Then it is redirected: by its sender's redirect, and after its return by its receiver's, unless that is
the same device. A packet that returns must belong to a redirected connection, or it is dropped.

A target sees the endpoint of a Service in both directions: requests are already translated here, and answers of Pods
concerned are translated last, after they were copied or have returned.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sluice.contracts.ids import Address
from sluice.dataplane.addresses import address
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.conntrack import CT_ZONE, MARK_LET_IN, MARK_REDIRECTED, MARK_SERVED, REDIRECT_ZONE, VLAN_BITS
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.detour import DELIVER
from sluice.dataplane.ovs.fields import TCP_RST, CtState, Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Ct,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Match,
    Nat,
    Output,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.pipeline import PRIORITY, PRIORITY_FIRST, Table
from sluice.dataplane.ovs.ports import LocalPort, destination
from sluice.dataplane.ovs.registers import (
    ACCEPTED,
    ANSWER,
    COPIES,
    FLAGS,
    HAIRPIN,
    L7_VLANS,
    OUT_PORT,
    RETURNED,
    SERVED,
    UNTRANSLATED,
)
from sluice.dataplane.protocols import EthType, IpProto

PRIORITY_WATCHED = 150
"""CONNTRACK and L7_NEXT: above the lookup of all packets, below the second translation."""

PRIORITY_BY_SENDER = 200
PRIORITY_DONE = 150
PRIORITY_BY_RECEIVER = 100
PRIORITY_SEEN = 60
PRIORITY_UNTRANSLATED = 50
"""REDIRECT: from highest to lowest."""

PRIORITY_DNS = PRIORITY_FIRST + 1
DNS = 53
"""WATCHED: answers of a DNS Service are translated as usual, since rules about names recognise them by their port."""

SETS = 1 << 16
"""Numbers of sets are below this, since one register holds two."""

_IP = (EthType.IPV4, EthType.IPV6)
_ANSWERED = Term(FLAGS, UNTRANSLATED, UNTRANSLATED)
_TRANSLATE = Ct(CT_ZONE, table=Table.OUTPUT, nat=Nat())
_REMEMBER = Ct(REDIRECT_ZONE, commit=True, exec=(SetField(Field.CT_MARK, MARK_REDIRECTED, MARK_REDIRECTED),))


_JUDGED_ANSWER = (
    Term(Field.IP_PROTO, IpProto.TCP),
    Term(Field.TCP_FLAGS, 0, TCP_RST),
    Term(FLAGS, ANSWER | SERVED, ANSWER | SERVED),
    Term(L7_VLANS, 0, (1 << VLAN_BITS) - 1),
)
"""A reply of a Service that returns from the inspection engine for the last time, and is no reset."""


def _state(on: int, off: int = 0) -> Term:
    return Term(Field.CT_STATE, on | CtState.TRK, on | off | CtState.TRK)


def _bit(flag: int) -> Term:
    return Term(FLAGS, flag, flag)


TRAFFIC_BASE: tuple[tuple[Table, int, Match, Actions], ...] = (
    *(
        flow
        for version in _IP
        for flow in (
            (Table.RETURN, PRIORITY, match((Field.ETH_TYPE, version)), (Ct(REDIRECT_ZONE, table=Table.RETURN_STATE),)),
            (
                Table.REJOIN,
                PRIORITY,
                match((Field.ETH_TYPE, version)),
                (SetField(FLAGS, ACCEPTED | RETURNED, ACCEPTED | RETURNED), Goto(Table.FORWARD)),
            ),
            (
                Table.RETURN_STATE,
                PRIORITY,
                match(
                    (Field.ETH_TYPE, version),
                    _state(0, CtState.INV),
                    (Field.CT_MARK, MARK_REDIRECTED, MARK_REDIRECTED),
                ),
                (Ct(CT_ZONE, table=Table.REJOIN, nat=Nat()),),
            ),
            (Table.REDIRECT, PRIORITY_UNTRANSLATED, match((Field.ETH_TYPE, version), _ANSWERED), (_TRANSLATE,)),
            (
                Table.WATCHED,
                PRIORITY,
                match((Field.ETH_TYPE, version)),
                (Ct(CT_ZONE, table=Table.CONNTRACK_STATE, nat=Nat()),),
            ),
        )
    ),
    *(
        (
            Table.WATCHED,
            PRIORITY_DNS,
            match((Field.ETH_TYPE, version), _state(CtState.EST), (Field.CT_NW_PROTO, proto), (Field.CT_TP_DST, DNS)),
            (Ct(CT_ZONE, table=Table.CONNTRACK_STATE, nat=Nat()),),
        )
        for version in _IP
        for proto in (IpProto.TCP, IpProto.UDP)
    ),
    (Table.COPY_SENT, PRIORITY_FIRST, match(_bit(HAIRPIN)), (Goto(Table.OUTPUT),)),
)
"""The flows that every switch has. What a Pod sends to itself through a Service is neither copied nor redirected."""

WATCHED_ANSWER = match(_state(CtState.EST | CtState.RPL, CtState.NEW), (Field.CT_MARK, MARK_LET_IN | MARK_SERVED))
"""A reply of a Service, if policy allowed the connection. All other bits of the mark are 0: inspection is separate."""

KEEP: Actions = (SetField(FLAGS, UNTRANSLATED, UNTRANSLATED),)
"""The packet goes on like any reply, but untranslated."""


class Redirect(NamedTuple):
    """Where packets go instead of to their destination."""

    number: int
    """Number of the TrafficControl."""

    target: int | None
    """OpenFlow port; None: it does not exist, and packets are dropped."""

    back: int | None
    """OpenFlow port that they return by, if it exists."""


class Watched(NamedTuple):
    """What is done with a Pod's packets; the number of a set is 0 if there is none."""

    sent: int
    received: int
    by_sender: Redirect | None
    by_receiver: Redirect | None

    @property
    def redirects(self) -> bool:
        return self.by_sender is not None or self.by_receiver is not None


def pod_flows(port: LocalPort, addresses: Iterable[Address], watched: Watched) -> Flows:
    """The flows of one Pod."""
    return {
        FlowKey(table, priority, a_match): FlowBody(actions, cookies.pack(CookieKind.TRAFFIC_CONTROL, number))
        for table, priority, a_match, actions, number in _pod_flows(port, addresses, watched)
    }


def copy_flows(sets: tuple[int, int], targets: Iterable[int]) -> Flows:
    """The flow that copies packets whose sender and receiver have these sets; the targets are OpenFlow ports."""
    outputs = tuple(Output(port) for port in sorted(set(targets)))
    if not outputs:
        return {}
    number = sets[0] | sets[1] << 16
    cookie = cookies.pack(CookieKind.TRAFFIC_CONTROL, number)
    return {FlowKey(Table.COPY, PRIORITY, match((COPIES, number))): FlowBody((*outputs, Goto(Table.REDIRECT)), cookie)}


def return_flows(ports: Iterable[int]) -> Flows:
    """The flows that take redirected packets back from these ports."""
    cookie = cookies.pack(CookieKind.TRAFFIC_CONTROL)
    return {
        FlowKey(Table.CLASSIFIER, PRIORITY, match((Field.IN_PORT, port))): FlowBody((Goto(Table.RETURN),), cookie)
        for port in ports
    }


_Flow = tuple[Table, int, Match, Actions, int]


def _pod_flows(port: LocalPort, addresses: Iterable[Address], watched: Watched) -> Iterator[_Flow]:
    here, there = Term(Field.IN_PORT, port.ofport), Term(OUT_PORT, port.ofport)
    whose: list[Match] = []
    if watched.sent or watched.redirects:
        whose += [match(here, (Field.ETH_TYPE, version)) for version in _IP]
    if watched.received or watched.redirects:
        whose += [destination(block) for block in map(address, addresses)]
    for one in whose:
        yield Table.CONNTRACK, PRIORITY_WATCHED, one, (Ct(CT_ZONE, table=Table.WATCHED),), 0
        yield Table.L7_NEXT, PRIORITY_WATCHED, match(*one, *_JUDGED_ANSWER), (*KEEP, *DELIVER), 0
    if watched.sent:
        copy = (SetField(COPIES, watched.sent, SETS - 1), Goto(Table.COPY_RECEIVED))
        yield Table.COPY_SENT, PRIORITY, match(here), copy, watched.sent
    if watched.received:
        number = watched.received << 16
        copy = (SetField(COPIES, number, (SETS - 1) << 16), Goto(Table.COPY))
        yield Table.COPY_RECEIVED, PRIORITY, match(there, (FLAGS, 0, RETURNED)), copy, number
    yield from _redirects(here, there, watched)


def _redirects(here: Term, there: Term, watched: Watched) -> Iterator[_Flow]:
    sides = (
        (here, watched.by_sender, PRIORITY_BY_SENDER),
        (there, watched.by_receiver, PRIORITY_BY_RECEIVER),
    )
    for version in _IP if watched.redirects else ():
        ip = (Field.ETH_TYPE, version)
        for side, redirect, priority in sides:
            if redirect is not None:
                yield Table.REDIRECT, priority, match(ip, side), _elsewhere(redirect), redirect.number
            else:  # packets in the other direction make the connection known as well
                yield Table.REDIRECT, PRIORITY_SEEN, match(ip, side), (_REMEMBER, Goto(Table.OUTPUT)), 0
                yield Table.REDIRECT, PRIORITY_SEEN + 1, match(ip, side, _ANSWERED), (_REMEMBER, _TRANSLATE), 0
    if watched.by_receiver is not None:
        for pair in (watched.by_receiver.back, watched.by_receiver.target):
            if pair is not None:
                yield (
                    Table.REDIRECT,
                    PRIORITY_DONE,
                    match(there, _bit(RETURNED), (Field.IN_PORT, pair)),
                    (Goto(Table.OUTPUT),),
                    0,
                )


def _elsewhere(redirect: Redirect) -> Actions:
    return () if redirect.target is None else (_REMEMBER, Output(redirect.target))
