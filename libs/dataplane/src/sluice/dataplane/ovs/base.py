"""The flows that always stand, whatever the node's Pods and policies."""

from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import CtState, EthType, Field, IpProto
from sluice.dataplane.ovs.flow import (
    Actions,
    Ct,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Match,
    MoveField,
    Output,
    OutputField,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.pipeline import (
    ACCEPTED,
    CT_ZONE,
    EGRESS_RULE,
    FLAGS,
    IN_PORT,
    INGRESS_RULE,
    LABEL_EGRESS,
    LABEL_INGRESS,
    OUT_PORT,
    PRIORITY,
    PRIORITY_FIRST,
    PRIORITY_MISS,
    PRIORITY_TOP,
    SCRATCH,
    TABLES,
    VIRTUAL_MAC,
    Table,
)

_TRACKED = CtState.TRK
_IP = (EthType.IPV4, EthType.IPV6)

_MISSES: dict[Table, Actions] = {
    table: (Goto(spec.miss),) if spec.miss is not None else () for table, spec in TABLES.items()
} | {Table.OUTPUT: (OutputField(OUT_PORT),)}

_KNOWN: Actions = (SetField(FLAGS, ACCEPTED, ACCEPTED), Goto(Table.FORWARD))

_ARP_REPLY: Actions = (
    MoveField(Field.ETH_SRC, Field.ETH_DST, 48),
    SetField(Field.ETH_SRC, VIRTUAL_MAC),
    SetField(Field.ARP_OP, 2),
    MoveField(Field.ARP_SHA, Field.ARP_THA, 48),
    SetField(Field.ARP_SHA, VIRTUAL_MAC),
    MoveField(Field.ARP_TPA, SCRATCH, 32),
    MoveField(Field.ARP_SPA, Field.ARP_TPA, 32),
    MoveField(SCRATCH, Field.ARP_SPA, 32),
    Output(IN_PORT),
)
"""Turns a request into its answer. Source: RFC 826, "Packet Reception"; opcode 1 asks, 2 answers."""

_REMEMBER = Ct(
    zone=CT_ZONE,
    commit=True,
    exec=(
        MoveField(INGRESS_RULE, Field.CT_LABEL, 32, target_offset=LABEL_INGRESS),
        MoveField(EGRESS_RULE, Field.CT_LABEL, 32, target_offset=LABEL_EGRESS),
    ),
)


def _state(on: int, off: int = 0) -> Term:
    return Term(Field.CT_STATE, on, on | off)


def _ip(version: int) -> Term:
    return Term(Field.ETH_TYPE, version)


_WITHOUT_PORTS = match(
    _state(_TRACKED | CtState.EST, CtState.NEW), (Field.CT_NW_PROTO, IpProto.SCTP), (Field.CT_TP_DST, 0)
)
"""Of an SCTP association that the tracker knows by its addresses alone.

Some trackers do: Open vSwitch 3.1 in user space has `sport=0,dport=0`. To them all that two Pods say by SCTP is one
association, so that what was let in tells nothing: each packet meets policy, and so do the answers.
"""

_FLOWS: tuple[tuple[Table, int, Match, Actions], ...] = (
    *((table, PRIORITY_MISS, (), actions) for table, actions in _MISSES.items()),
    (Table.ARP, PRIORITY, match((Field.ETH_TYPE, EthType.ARP), (Field.ARP_OP, 1)), _ARP_REPLY),
    *((Table.CONNTRACK, PRIORITY, match(_ip(v)), (Ct(zone=CT_ZONE, table=Table.CONNTRACK_STATE),)) for v in _IP),
    (Table.CONNTRACK_STATE, PRIORITY_FIRST, match(_state(_TRACKED | CtState.INV)), ()),
    (Table.CONNTRACK_STATE, PRIORITY_FIRST, _WITHOUT_PORTS, (Goto(Table.EGRESS_TIER),)),
    (Table.CONNTRACK_STATE, PRIORITY, match(_state(_TRACKED | CtState.NEW)), (Goto(Table.EGRESS_TIER),)),
    (Table.CONNTRACK_STATE, PRIORITY, match(_state(_TRACKED | CtState.EST, CtState.NEW)), _KNOWN),
    (Table.CONNTRACK_STATE, PRIORITY, match(_state(_TRACKED | CtState.REL, CtState.NEW | CtState.EST)), _KNOWN),
    (Table.INGRESS_TIER, PRIORITY_TOP, match((FLAGS, ACCEPTED, ACCEPTED)), (Goto(Table.OUTPUT),)),
    *(
        (Table.COMMIT, PRIORITY, match(_ip(v), _state(_TRACKED | CtState.NEW)), (_REMEMBER, Goto(Table.OUTPUT)))
        for v in _IP
    ),
    (Table.COMMIT, PRIORITY, match(_state(_TRACKED | CtState.EST, CtState.NEW)), (Goto(Table.OUTPUT),)),
)

BASE: Flows = {
    FlowKey(table, priority, a_match): FlowBody(actions, cookies.pack(CookieKind.BASE))
    for table, priority, a_match, actions in _FLOWS
}
"""What stands in every switch."""
