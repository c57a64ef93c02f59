"""The flows that are always installed, whatever the node's Pods and policies."""

from sluice.dataplane.ovs import audit, cookies
from sluice.dataplane.ovs.conntrack import (
    CT_ZONE,
    LABEL_SERVICE_PORT,
    MARK_INSPECTED,
    MARK_INSPECTION,
    MARK_LET_IN,
    MARK_SERVED,
    MASK_ZONE,
    SERVICE_PORT_BITS,
)
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.counting import COUNT_EACH, RECALL_RULES, REMEMBER_RULES
from sluice.dataplane.ovs.detour import DETOUR
from sluice.dataplane.ovs.fields import TCP_SYN, CtState, Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Ct,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Match,
    MoveField,
    Nat,
    Output,
    OutputField,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.multicast import BASE_LINES as MANY_LINES
from sluice.dataplane.ovs.pipeline import (
    PRIORITY,
    PRIORITY_FIRST,
    PRIORITY_MISS,
    PRIORITY_TOP,
    TABLES,
    VIRTUAL_MAC,
    Table,
)
from sluice.dataplane.ovs.registers import (
    ACCEPTED,
    ANSWER,
    BY_NODE_PORT,
    FLAGS,
    FROM_TUNNEL,
    HAIRPIN,
    OUT_PORT,
    SCRATCH,
    SERVED,
    SERVICE_PORT,
)
from sluice.dataplane.ovs.traffic_flows import KEEP, TRAFFIC_BASE, WATCHED_ANSWER
from sluice.dataplane.protocols import EthType, IpProto

MASKS = {4: 0xA9FE0102, 6: 0xFD51CE51CE510000000000000000_0002}
"""169.254.1.2 and fd51:ce51:ce51::2: the client that a Pod sees when it connects to itself through a Service."""

IN_PORT = 0xFFFFFFF8
"""Output to the port that the packet came from. Source: OpenFlow 1.5.1 section 7.2.1, OFPP_IN_PORT."""


def _bit(flag: int) -> int:
    return flag.bit_length() - 1


_TRACKED = CtState.TRK
_IP = (EthType.IPV4, EthType.IPV6)

_KNOWN: Actions = (
    SetField(FLAGS, ACCEPTED, ACCEPTED),
    MoveField(Field.CT_MARK, FLAGS, 1, _bit(MARK_SERVED), _bit(SERVED)),
    *RECALL_RULES,
    Goto(Table.FORWARD),
)

_BACK: Actions = (
    SetField(FLAGS, ACCEPTED | ANSWER, ACCEPTED | ANSWER | FROM_TUNNEL),
    *_KNOWN[1:-1],
    Goto(Table.DNS_CLIENT),
)
"""For replies. Clears FROM_TUNNEL: a reply from the tunnel may go on to a client outside the cluster."""

_AGAIN: Actions = (
    SetField(FLAGS, SERVED, SERVED),
    MoveField(Field.CT_LABEL, SERVICE_PORT, SERVICE_PORT_BITS, LABEL_SERVICE_PORT),
    MoveField(Field.CT_LABEL, SERVICE_PORT, 1, LABEL_SERVICE_PORT + _bit(BY_NODE_PORT), _bit(BY_NODE_PORT)),
    Goto(Table.NODE_PORT),
)

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
"""Turns a request into its reply. Source: RFC 826, "Packet Reception"; opcode 1 is a request, 2 a reply."""

_REMEMBER = Ct(
    zone=CT_ZONE,
    commit=True,
    exec=(
        SetField(Field.CT_MARK, MARK_LET_IN, MARK_LET_IN | MARK_INSPECTION),
        *REMEMBER_RULES,
    ),
)

_MISSES: dict[Table, Actions] = {
    table: (Goto(spec.miss),) if spec.miss is not None else () for table, spec in TABLES.items()
} | {Table.TALLY: (*COUNT_EACH, Goto(Table.COMMIT)), Table.OUTPUT: (OutputField(OUT_PORT),)}

_ASK = Ct(zone=CT_ZONE, table=Table.CONNTRACK_STATE, nat=Nat())
_LET_IN = Term(Field.CT_MARK, MARK_LET_IN, MARK_LET_IN)
_KNOWN_TO_US = Term(Field.CT_MARK, MARK_LET_IN, MARK_LET_IN | MARK_INSPECTED)
_MASKS = (
    (EthType.IPV4, Field.IPV4_DST, MASKS[4]),
    (EthType.IPV6, Field.IPV6_DST, MASKS[6]),
)


def mask(version: int, address: int) -> Ct:
    """Translate the source of the packet's connection to this address, and go on to OUTPUT."""
    return Ct(MASK_ZONE, commit=True, table=Table.OUTPUT, nat=Nat("src", version, address))


def _state(on: int, off: int = 0) -> Term:
    return Term(Field.CT_STATE, on, on | off)


def _ip(version: int) -> Term:
    return Term(Field.ETH_TYPE, version)


_WITHOUT_PORTS = match(
    _state(_TRACKED | CtState.EST, CtState.NEW), (Field.CT_NW_PROTO, IpProto.SCTP), (Field.CT_TP_DST, 0)
)
"""Packets of an SCTP association that the tracker knows only by its addresses.

Some trackers ignore SCTP ports: Open vSwitch 3.1 in user space has `sport=0,dport=0`. To them, all SCTP traffic between
two Pods is one association, so it proves nothing that it was allowed: policy is applied to each packet and each reply.
"""

_UNBEGUN = match(_state(_TRACKED | CtState.NEW), (Field.IP_PROTO, IpProto.TCP), (Field.TCP_FLAGS, 0, TCP_SYN))
"""Packets of a TCP connection whose beginning the tracker did not see, or which it has forgotten."""

_FLOWS: tuple[tuple[Table, int, Match, Actions], ...] = (
    *((table, PRIORITY_MISS, (), actions) for table, actions in _MISSES.items()),
    (Table.ARP, PRIORITY, match((Field.ETH_TYPE, EthType.ARP), (Field.ARP_OP, 1)), _ARP_REPLY),
    *((table, PRIORITY, match(_ip(v)), (_ASK,)) for v in _IP for table in (Table.CONNTRACK, Table.UNMASKED)),
    *(
        (
            Table.CONNTRACK,
            PRIORITY_FIRST,
            match(_ip(v), (field, mask)),
            (Ct(MASK_ZONE, False, Table.UNMASKED, (), Nat()),),
        )
        for v, field, mask in _MASKS
    ),
    (Table.CONNTRACK_STATE, PRIORITY_FIRST, match(_state(_TRACKED | CtState.INV)), ()),
    (Table.CONNTRACK_STATE, PRIORITY_FIRST, _WITHOUT_PORTS, (Goto(Table.EGRESS_TIER),)),
    (Table.CONNTRACK_STATE, PRIORITY, match(_state(_TRACKED | CtState.NEW)), (Goto(Table.NODE_ADDRESS),)),
    (
        Table.CONNTRACK_STATE,
        PRIORITY + 1,
        match(_state(_TRACKED | CtState.NEW), (Field.CT_MARK, MARK_SERVED, MARK_SERVED)),
        _AGAIN,
    ),
    *(
        (Table.CONNTRACK_STATE, PRIORITY, match(_state(_TRACKED | on, off), marks), does)
        for on, off, marks, does in (
            (CtState.EST, CtState.NEW | CtState.RPL, _KNOWN_TO_US, _KNOWN),
            (CtState.EST | CtState.RPL, CtState.NEW, _KNOWN_TO_US, _BACK),
            (CtState.REL, CtState.NEW | CtState.EST | CtState.RPL, _LET_IN, _KNOWN),
            (CtState.REL | CtState.RPL, CtState.NEW | CtState.EST, _LET_IN, _BACK),
        )
    ),
    *((Table.FORWARD, PRIORITY, match(_ip(v), (field, mask)), ()) for v, field, mask in _MASKS),
    (Table.INGRESS_TIER, PRIORITY_TOP, match((FLAGS, ACCEPTED, ACCEPTED)), (Goto(Table.TALLY),)),
    (Table.INGRESS_TIER, PRIORITY_TOP, match((FLAGS, HAIRPIN, HAIRPIN | ACCEPTED)), (Goto(Table.TALLY),)),
    (Table.TALLY, PRIORITY, match((FLAGS, ACCEPTED, ACCEPTED)), (*COUNT_EACH, Goto(Table.MASK))),
    *(
        (Table.COMMIT, PRIORITY, match(_ip(v), _state(_TRACKED | CtState.NEW)), (_REMEMBER, Goto(Table.MASK)))
        for v in _IP
    ),
    *((Table.COMMIT, PRIORITY + 1, match(_ip(v), *_UNBEGUN), (Goto(Table.MID_STREAM),)) for v in _IP),
    (Table.COMMIT, PRIORITY, match(_state(_TRACKED | CtState.EST, CtState.NEW)), (Goto(Table.MASK),)),
    *((Table.MID_STREAM, PRIORITY, match(_ip(v)), (_REMEMBER, Goto(Table.MASK))) for v in _IP),
    *(
        (
            Table.MASK,
            PRIORITY,
            match(_ip(v), (FLAGS, HAIRPIN, HAIRPIN | ANSWER)),
            (mask(4 if v == EthType.IPV4 else 6, number),),
        )
        for v, _, number in _MASKS
    ),
    (Table.OUTPUT, PRIORITY, match((FLAGS, HAIRPIN, HAIRPIN)), (Output(IN_PORT),)),
    *TRAFFIC_BASE,
    (Table.WATCHED, PRIORITY_FIRST, WATCHED_ANSWER, (*KEEP, *_BACK)),
    *MANY_LINES,
    *audit.FLOWS,
)

BASE: Flows = {
    FlowKey(table, priority, a_match): FlowBody(actions, cookies.pack(CookieKind.BASE))
    for table, priority, a_match, actions in _FLOWS
} | DETOUR
"""The flows that every switch has."""
