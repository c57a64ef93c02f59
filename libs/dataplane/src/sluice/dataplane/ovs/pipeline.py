"""The pipeline as data: the tables, what each may match, and where a packet may go from it.

Pods are routed, never bridged: the switch answers every ARP request with one virtual MAC, and forwards by IP address
alone. Nothing is learned, nothing is flooded, and what no flow names is dropped. docs/backends/ovs.md follows a packet;
`check` holds every flow to what is declared here; `base` has the flows that always stand.
"""

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, Conjunction, Ct, FlowBody, FlowKey, Flows, Goto, Learn, Resubmit, Term
from sluice.dataplane.protocols import EthType, IpProto

FLAGS = Field.REG0
ACCEPTED = 0x1
"""Bit of FLAGS: policy has nothing more to say, for the connection was let in before."""

FROM_HOST = 0x2
"""Bit of FLAGS: the node itself sent it, which may always reach its own Pods."""

FROM_TUNNEL = 0x4
"""Bit of FLAGS: another node sent it, so it is for a Pod here, or for this node, and goes nowhere else."""

FROM_WORLD = 0x8
"""Bit of FLAGS: it came by the gateway, and not from the node itself."""

SERVED = 0x10
"""Bit of FLAGS: it is of a connection to a Service, whose endpoint stands in place of the Service by now."""

ANSWER = 0x20
"""Bit of FLAGS: it goes the way back of a connection that was let in before."""

HAIRPIN = 0x40
"""Bit of FLAGS: it goes back to the Pod that sent it, which is an endpoint of the Service that it asked."""

TO_NODE = 0x80
"""Bit of FLAGS: it was sent to an address of a node, where NodePorts are."""

INSPECTED = 0x400
"""Bit of FLAGS: a rule that looks at requests let it out or in, so that it goes by the inspection engine."""

JUDGED = 0x800
"""Bit of FLAGS: it is an answer that came back from the inspection engine."""

UNTRANSLATED = 0x1000
"""Bit of FLAGS: it is an answer of a Service and has its endpoint's address still, as TrafficControls show it."""

RETURNED = 0x2000
"""Bit of FLAGS: it comes back from where a TrafficControl redirected it."""

OUT_PORT = Field.REG1
"""OpenFlow port of the destination, 0 while it is not known."""

SCRATCH = Field.REG2
"""For swapping two fields, and for the rule that has a packet logged; means nothing from one table to the next."""

ENDPOINT_NUMBER = Field.REG3
"""Of the endpoint that was chosen for a new connection to a Service."""

L7_VLANS = Field.REG4
"""VLANs of the inspection engine by which the packet still has to go, 12 bits each: the next, and the one after; 0:
none. Until the connection is committed: that of the rule that let it out, and that of the one that let it in."""

CONNECTION_TAG = Field.REG13
"""By which the inspection engine tells the connection from others of the same ports; TAG_BITS."""

TAG_BITS = 12

SERVICE_PORT = Field.REG7
"""Number of the port of a Service that a new connection was sent to, with BY_NODE_PORT; 0: none."""

BY_NODE_PORT = 1 << 31
"""Bit of SERVICE_PORT: by a NodePort, and not by a ClusterIP."""

COPIES = Field.REG8
"""Numbers of the sets of TrafficControls that have a packet copied: bits 0 to 15 for its sender, 16 to 31 for its
receiver; 0: none."""

EGRESS_RULE = Field.REG5
INGRESS_RULE = Field.REG6
"""Id of the rule that let the packet out, and in, or the connection that it is of; 0 where no rule had to."""

NODE_PORT_RULE = Field.REG12
"""Id of the rule that let it use a NodePort."""

COUNTED = Field.REG9
"""Id of the rule that counts the packet next: each that let it through, or the one that denied it."""

CT_ZONE = 0x51CE
"""Ours. One zone a node: addresses of Pods are unique, and so both ends see one connection as one."""

MASK_ZONE = 0x51CF
"""For the second translation of a connection: that of its source."""

REDIRECT_ZONE = 0x51D0
"""Of connections that were redirected, as whoever they are redirected to sees them: only these come back."""

MARK_REDIRECTED = 0x1
"""Bit of ct_mark in that zone."""

MARK_LET_IN = 0x1
"""Bit of ct_mark: policy let the connection in. One that is known for its translation alone has it not."""

MARK_SERVED = 0x2
"""Bit of ct_mark: its destination is translated."""

MARK_INSPECTED = 1 << 2
"""Bit of ct_mark: it goes by the inspection engine, with the VLANs that follow."""

MARK_DEAD = 1 << 3
"""Bit of ct_mark: the engine, or an end, reset it."""

MARK_VLANS = 4
"""First bit of ct_mark's VLANs, 12 bits each: that of the rule that let it out, then of the one that let it in."""

VLAN_BITS = 12
VLANS_MASK = (1 << 2 * VLAN_BITS) - 1

MARK_INSPECTION = MARK_INSPECTED | MARK_DEAD | VLANS_MASK << MARK_VLANS
"""Bits of ct_mark that are about the inspection engine."""

LABEL_INGRESS = 0
LABEL_EGRESS = 32
"""First bit of the rule ids in ct_label, 32 bits each."""

LABEL_NODE_PORT = 96
"""First bit of the id of NODE_PORT_RULE in ct_label."""

LABEL_SERVICE_PORT = 64
"""First bit of SERVICE_PORT in ct_label: the first packet may come again, when its destination is translated."""

LABEL_TAG = 83
"""First bit of a connection's tag in ct_label: between the number of SERVICE_PORT and BY_NODE_PORT."""

SERVICE_PORT_BITS = LABEL_TAG - LABEL_SERVICE_PORT
"""Of the number. No node has half a million ports of Services."""

MASKS = {4: 0xA9FE0102, 6: 0xFD51CE51CE510000000000000000_0002}
"""169.254.1.2 and fd51:ce51:ce51::2: whom a Pod sees that asks a Service and is its endpoint itself."""


class Errand(IntEnum):
    """What a packet is handed to the programmer for: the first octet of the action's userdata."""

    REJECT = 1
    """Answer its sender that it is refused. The packet itself goes no further."""

    AUDIT = 2
    """Log what was decided. The packet goes on as if it had not been handed over."""

    DNS = 3
    """Hold it, an answer of DNS, until what it tells is in the switch."""

    L7 = 4
    """It is of a connection that the inspection engine reset: have both ends hear of it."""

    IGMP = 5
    """Note which groups a Pod says that it wants. The packet itself goes no further."""

    L7_RESET = 6
    """The inspection engine resets it: what begins now must not be taken for it."""


class Meter(IntEnum):
    """Numbers of meters: they bound how many packets a second are handed over for an errand, and drop the rest."""

    REJECT = 1
    AUDIT = 2
    DNS = 3
    L7 = 4
    IGMP = 5
    L7_RESET = 6
    """Of the news that the engine reset a connection; a few a second are enough."""


IN_PORT = 0xFFFFFFF8
"""Back to where it came from. Source: OpenFlow 1.5.1 section 7.2.1, OFPP_IN_PORT."""

MAX_PORT = 0xFEFF
"""Source: Open vSwitch `include/openvswitch/ofp-port.h`: ports have 16 bits inside the switch, OFPP_MAX is 0xff00."""

VIRTUAL_MAC = 0x0A58A9FE0101
"""Whom Pods send to: locally administered, and the last four bytes are those of 169.254.1.1, their gateway."""

PRIORITY_MISS = 0
PRIORITY = 100
"""Where a table's flows do not overlap."""

PRIORITY_FIRST = 200
"""Before those."""

PRIORITY_TOP = 0xFFFF
"""Before everything. Source: OpenFlow 1.5.1, struct ofp_flow_mod: 16 bits."""

PRIORITY_PLAIN = 40_000
"""Policy tables: rules that match in one dimension alone. Before clauses, so that the two never claim one flow."""

PRIORITY_CLAUSES = PRIORITY_PLAIN - 1
"""Policy tables: the clauses of the rules in lane 0; each lane has the priority below the one before it."""


DNS_GROUP = 3
"""Number of the group that leads answers of DNS on. Those of Services are multiples of four, and what follows them."""


class Table(IntEnum):
    """Spaced by ten, so that a table can come between two others. The names are what we speak of."""

    CLASSIFIER = 0
    RETURN = 1
    RETURN_STATE = 2
    REJOIN = 3
    SPOOF_GUARD = 10
    ARP = 20
    CONNTRACK = 30
    L7_UNTAG = 31
    L7_UNTAG_AGAIN = 32
    L7_RETURN = 33
    L7_NEXT = 34
    UNMASKED = 35
    L7_ANSWER = 36
    WATCHED = 39
    CONNTRACK_STATE = 40
    NODE_ADDRESS = 41
    SERVICE = 42
    AFFINITY = 43
    CHOICE = 44
    LEARN = 45
    ENDPOINT = 46
    NODE_PORT = 47
    NODE_PORT_DEFAULT = 48
    EGRESS_TIER = 50
    EGRESS_K8S = 60
    EGRESS_DEFAULT = 70
    DNS_CLIENT = 71
    DNS_ANSWER = 72
    DNS_HOLD = 73
    EGRESS_L7 = 79
    FORWARD = 80
    MULTICAST = 81
    INGRESS_TIER = 90
    INGRESS_K8S = 100
    INGRESS_DEFAULT = 110
    TALLY = 111
    COUNT = 112
    COMMIT = 120
    L7_TAG = 121
    L7_SEND = 122
    L7_VLAN = 123
    MASK = 125
    COPY_SENT = 126
    COPY_RECEIVED = 127
    COPY = 128
    REDIRECT = 129
    OUTPUT = 130
    AUDIT = 135


class TableSpec(NamedTuple):
    does: str
    matches: frozenset[Field]
    leads_to: tuple[Table, ...]
    """Tables that its flows may send a packet to; all of them come later, so that no packet goes round."""

    miss: Table | None
    """Where a packet goes that no other flow of the table names; None drops it."""


_F = Field
_PORTS = frozenset(
    (
        *(_F.TCP_SRC, _F.TCP_DST, _F.UDP_SRC, _F.UDP_DST, _F.SCTP_SRC, _F.SCTP_DST),
        *(_F.ICMP_TYPE, _F.ICMP_CODE, _F.ICMPV6_TYPE, _F.ICMPV6_CODE),
    )
)
_TRAFFIC = _PORTS | {_F.ETH_TYPE, _F.IP_PROTO}
_SOURCE = frozenset((_F.ETH_TYPE, _F.IPV4_SRC, _F.IPV6_SRC))
_DESTINATION = frozenset((_F.ETH_TYPE, _F.IPV4_DST, _F.IPV6_DST))
_ARP = frozenset((_F.ETH_TYPE, _F.ARP_OP, _F.ARP_SPA, _F.ARP_TPA, _F.ARP_SHA))
_EGRESS = _TRAFFIC | _DESTINATION | {_F.IN_PORT, _F.CONJ_ID, SERVICE_PORT}
_INGRESS = _TRAFFIC | _SOURCE | {OUT_PORT, _F.CONJ_ID}

TABLES: dict[Table, TableSpec] = {
    Table.CLASSIFIER: TableSpec(
        "lets in what comes from an open port",
        frozenset((_F.IN_PORT,)),
        (Table.RETURN, Table.SPOOF_GUARD, Table.L7_UNTAG),
        None,
    ),
    Table.RETURN: TableSpec(
        "asks whether what comes back was redirected", frozenset((_F.ETH_TYPE,)), (Table.RETURN_STATE,), None
    ),
    Table.RETURN_STATE: TableSpec(
        "takes back what was redirected, and translates the answers of Services",
        frozenset((_F.ETH_TYPE, _F.CT_STATE, _F.CT_MARK)),
        (Table.REJOIN,),
        None,
    ),
    Table.REJOIN: TableSpec(
        "sends what came back on its way: policy let it in before", frozenset((_F.ETH_TYPE,)), (Table.FORWARD,), None
    ),
    Table.SPOOF_GUARD: TableSpec(
        "lets a Pod speak for its own addresses only, and a node for what it has",
        _ARP | _SOURCE | {_F.IN_PORT, _F.ETH_SRC, _F.TUN_SRC, _F.TUN_IPV6_SRC},
        (Table.ARP, Table.CONNTRACK),
        None,
    ),
    Table.ARP: TableSpec("answers for every address with the virtual MAC", _ARP | {_F.IN_PORT}, (), None),
    Table.CONNTRACK: TableSpec(
        "asks the connection tracker, where it must for the second translation first; but not of what is for many",
        _DESTINATION | {_F.IN_PORT, _F.IP_PROTO, FLAGS},
        (Table.UNMASKED, Table.L7_ANSWER, Table.WATCHED, Table.CONNTRACK_STATE, Table.EGRESS_TIER, Table.MULTICAST),
        None,
    ),
    Table.L7_UNTAG: TableSpec(
        "takes the tag off what the inspection engine gives back",
        frozenset((_F.VLAN_VID,)),
        (Table.L7_UNTAG_AGAIN,),
        Table.L7_UNTAG_AGAIN,
    ),
    Table.L7_UNTAG_AGAIN: TableSpec(
        "takes the second tag off", frozenset((_F.VLAN_VID,)), (Table.L7_RETURN,), Table.L7_RETURN
    ),
    Table.L7_RETURN: TableSpec(
        "knows from the MACs which way a packet goes", _TRAFFIC | {_F.ETH_SRC}, (Table.L7_NEXT,), None
    ),
    Table.L7_NEXT: TableSpec(
        "has what went by the inspection engine go on, or go by it for the other end's rule",
        _DESTINATION | {_F.IN_PORT, _F.IP_PROTO, _F.TCP_FLAGS, FLAGS, L7_VLANS},
        (Table.L7_ANSWER, Table.CONNTRACK_STATE, Table.DNS_CLIENT, Table.FORWARD, Table.L7_SEND),
        Table.L7_SEND,
    ),
    Table.UNMASKED: TableSpec(
        "asks the connection tracker", frozenset((_F.ETH_TYPE,)), (Table.L7_ANSWER, Table.CONNTRACK_STATE), None
    ),
    Table.L7_ANSWER: TableSpec(
        "sends answers by the inspection engine, as they are before they are translated back",
        frozenset((_F.CT_STATE, _F.CT_MARK, _F.ETH_TYPE, _F.IP_PROTO, _F.TCP_FLAGS, FLAGS)),
        (Table.CONNTRACK_STATE, Table.COUNT, Table.L7_SEND),
        Table.CONNTRACK_STATE,
    ),
    Table.WATCHED: TableSpec(
        "keeps the endpoint's address in answers that TrafficControls are about",
        frozenset((_F.ETH_TYPE, _F.CT_STATE, _F.CT_MARK, _F.CT_NW_PROTO, _F.CT_TP_DST, _F.IP_PROTO, _F.TCP_FLAGS)),
        (Table.CONNTRACK_STATE, Table.DNS_CLIENT, Table.COUNT, Table.L7_SEND),
        None,
    ),
    Table.CONNTRACK_STATE: TableSpec(
        "tells new connections from those that were let in before",
        frozenset((_F.CT_STATE, _F.CT_MARK, _F.CT_NW_PROTO, _F.CT_TP_DST, FLAGS)),
        (
            Table.NODE_ADDRESS,
            Table.NODE_PORT,
            Table.EGRESS_TIER,
            Table.DNS_CLIENT,
            Table.FORWARD,
            Table.COUNT,
            Table.L7_SEND,
        ),
        None,
    ),
    Table.NODE_ADDRESS: TableSpec("knows the addresses of nodes", _DESTINATION, (Table.SERVICE,), Table.SERVICE),
    Table.SERVICE: TableSpec(
        "knows the ports of Services, and chooses an endpoint",
        _TRAFFIC | _DESTINATION | {FLAGS},
        (Table.AFFINITY, Table.CHOICE, Table.ENDPOINT, Table.EGRESS_TIER),
        Table.EGRESS_TIER,
    ),
    Table.AFFINITY: TableSpec("remembers which client has which endpoint", frozenset(), (), None),
    Table.CHOICE: TableSpec(
        "chooses an endpoint for a client that has none yet",
        frozenset((ENDPOINT_NUMBER, SERVICE_PORT, _F.ETH_TYPE)),
        (Table.LEARN, Table.ENDPOINT),
        Table.ENDPOINT,
    ),
    Table.LEARN: TableSpec(
        "has the choice remembered",
        frozenset((ENDPOINT_NUMBER, _F.ETH_TYPE, _F.IP_PROTO)),
        (Table.ENDPOINT,),
        None,
    ),
    Table.ENDPOINT: TableSpec(
        "puts the endpoint in place of the Service",
        frozenset((ENDPOINT_NUMBER, _F.ETH_TYPE, _F.IP_PROTO)),
        (Table.NODE_PORT,),
        None,
    ),
    Table.NODE_PORT: TableSpec(
        "rules of tiers about NodePorts, from the client",
        _INGRESS | {SERVICE_PORT, FLAGS},
        (Table.NODE_PORT_DEFAULT, Table.EGRESS_TIER, Table.AUDIT, Table.COUNT),
        Table.NODE_PORT_DEFAULT,
    ),
    Table.NODE_PORT_DEFAULT: TableSpec(
        "the baseline about NodePorts, from the client",
        _INGRESS | {SERVICE_PORT, FLAGS},
        (Table.EGRESS_TIER, Table.AUDIT, Table.COUNT),
        Table.EGRESS_TIER,
    ),
    Table.EGRESS_TIER: TableSpec(
        "rules of tiers, towards the destination",
        _EGRESS,
        (Table.EGRESS_K8S, Table.EGRESS_L7, Table.FORWARD, Table.AUDIT, Table.COUNT),
        Table.EGRESS_K8S,
    ),
    Table.EGRESS_K8S: TableSpec(
        "allow rules of Kubernetes policies, towards the destination",
        _EGRESS,
        (Table.EGRESS_DEFAULT, Table.FORWARD, Table.AUDIT, Table.COUNT),
        Table.EGRESS_DEFAULT,
    ),
    Table.EGRESS_DEFAULT: TableSpec(
        "drops what an isolated Pod sends and no rule allowed; then the baseline, towards the destination",
        _EGRESS,
        (Table.EGRESS_L7, Table.FORWARD, Table.AUDIT, Table.COUNT),
        Table.FORWARD,
    ),
    Table.DNS_CLIENT: TableSpec(
        "knows the Pods that rules about names apply to, by what comes back to them",
        _DESTINATION,
        (Table.DNS_ANSWER, Table.FORWARD),
        Table.FORWARD,
    ),
    Table.DNS_ANSWER: TableSpec(
        "knows answers of DNS, and drops what exceeds their rate",
        frozenset((_F.ETH_TYPE, _F.IP_PROTO, _F.TCP_SRC, _F.UDP_SRC)),
        (Table.DNS_HOLD, Table.FORWARD),
        Table.FORWARD,
    ),
    Table.DNS_HOLD: TableSpec(
        "has answers of DNS wait until what they tell is in the switch", frozenset(), (Table.FORWARD,), None
    ),
    Table.EGRESS_L7: TableSpec(
        "drops what the inspection engine cannot judge", frozenset((_F.ETH_TYPE, _F.IP_PROTO)), (Table.FORWARD,), None
    ),
    Table.FORWARD: TableSpec(
        "finds the destination's port",
        _DESTINATION | {FLAGS, _F.IN_PORT},
        (Table.MULTICAST, Table.INGRESS_TIER, Table.COUNT),
        None,
    ),
    Table.MULTICAST: TableSpec("brings it to the members of the group", _DESTINATION | {FLAGS}, (), None),
    Table.INGRESS_TIER: TableSpec(
        "lets known connections pass; rules of tiers, from the source",
        _INGRESS | {FLAGS},
        (Table.INGRESS_K8S, Table.TALLY, Table.AUDIT, Table.COUNT),
        Table.INGRESS_K8S,
    ),
    Table.INGRESS_K8S: TableSpec(
        "allow rules of Kubernetes policies, from the source",
        _INGRESS,
        (Table.INGRESS_DEFAULT, Table.TALLY, Table.AUDIT, Table.COUNT),
        Table.INGRESS_DEFAULT,
    ),
    Table.INGRESS_DEFAULT: TableSpec(
        "drops what is sent to an isolated Pod and no rule allowed; then the baseline, from the source",
        _INGRESS,
        (Table.TALLY, Table.AUDIT, Table.COUNT),
        Table.TALLY,
    ),
    Table.TALLY: TableSpec(
        "has each rule that lets the packet through count it",
        frozenset((FLAGS,)),
        (Table.COUNT, Table.COMMIT, Table.MASK),
        None,
    ),
    Table.COUNT: TableSpec("counts for one rule", frozenset((COUNTED, _F.CT_STATE, _F.CT_MARK)), (), None),
    Table.COMMIT: TableSpec(
        "has the connection tracker remember a new connection, and the rules that allowed it",
        frozenset((_F.ETH_TYPE, _F.IP_PROTO, _F.CT_STATE, FLAGS)),
        (Table.L7_TAG, Table.MASK),
        None,
    ),
    Table.L7_TAG: TableSpec(
        "gives a new connection its tag, and has the connection tracker remember it",
        frozenset((_F.ETH_TYPE,)),
        (Table.L7_SEND,),
        None,
    ),
    Table.L7_SEND: TableSpec(
        "notes in the MACs which way the packet goes", frozenset((FLAGS, L7_VLANS)), (Table.L7_VLAN,), None
    ),
    Table.L7_VLAN: TableSpec("sends it to the inspection engine", frozenset((L7_VLANS,)), (), None),
    Table.MASK: TableSpec(
        "puts another source in place of one that would get the answers by another way",
        frozenset((_F.ETH_TYPE, FLAGS, OUT_PORT)),
        (Table.COPY_SENT, Table.OUTPUT),
        Table.COPY_SENT,
    ),
    Table.COPY_SENT: TableSpec(
        "knows whose packets are copied",
        frozenset((_F.IN_PORT, FLAGS)),
        (Table.COPY_RECEIVED, Table.OUTPUT),
        Table.COPY_RECEIVED,
    ),
    Table.COPY_RECEIVED: TableSpec(
        "knows for whom packets are copied", frozenset((OUT_PORT, FLAGS)), (Table.COPY,), Table.COPY
    ),
    Table.COPY: TableSpec("sends copies, one to each target", frozenset((COPIES,)), (Table.REDIRECT,), Table.REDIRECT),
    Table.REDIRECT: TableSpec(
        "sends the packet elsewhere in place of its destination",
        frozenset((_F.IN_PORT, _F.ETH_TYPE, OUT_PORT, FLAGS)),
        (Table.OUTPUT,),
        Table.OUTPUT,
    ),
    Table.OUTPUT: TableSpec("sends the packet out", frozenset((FLAGS,)), (), None),
    Table.AUDIT: TableSpec(
        "has the first packet of a connection logged; who asks goes on afterwards", frozenset((_F.CT_MARK,)), (), None
    ),
}

_L4 = {
    (_F.TCP_SRC, _F.TCP_DST): IpProto.TCP,
    (_F.UDP_SRC, _F.UDP_DST): IpProto.UDP,
    (_F.SCTP_SRC, _F.SCTP_DST): IpProto.SCTP,
}
NEEDS: dict[Field, tuple[tuple[Field, tuple[int, ...]], ...]] = {
    _F.IP_PROTO: ((_F.ETH_TYPE, (EthType.IPV4, EthType.IPV6)),),
    _F.TCP_FLAGS: ((_F.IP_PROTO, (IpProto.TCP,)),),
    _F.TCP_FLAGS: ((_F.ETH_TYPE, (EthType.IPV4, EthType.IPV6)), (_F.IP_PROTO, (IpProto.TCP,))),
    _F.CT_TP_DST: ((_F.CT_NW_PROTO, (IpProto.TCP, IpProto.UDP, IpProto.SCTP)),),
    **dict.fromkeys((_F.IPV4_SRC, _F.IPV4_DST), ((_F.ETH_TYPE, (EthType.IPV4,)),)),
    **dict.fromkeys((_F.IPV6_SRC, _F.IPV6_DST), ((_F.ETH_TYPE, (EthType.IPV6,)),)),
    **dict.fromkeys(_ARP - {_F.ETH_TYPE}, ((_F.ETH_TYPE, (EthType.ARP,)),)),
    **{field: ((_F.IP_PROTO, (number,)),) for fields, number in _L4.items() for field in fields},
    **{
        field: ((_F.ETH_TYPE, (version,)), (_F.IP_PROTO, (number,)))
        for field, version, number in (
            (_F.ICMP_TYPE, EthType.IPV4, IpProto.ICMP),
            (_F.ICMP_CODE, EthType.IPV4, IpProto.ICMP),
            (_F.ICMPV6_TYPE, EthType.IPV6, IpProto.ICMPV6),
            (_F.ICMPV6_CODE, EthType.IPV6, IpProto.ICMPV6),
        )
    },
}
"""What else a match must say for a field to exist. Source: ovs-fields(7), "Prerequisites" of each field."""


def check(key: FlowKey, body: FlowBody) -> None:
    """The flow is one that the pipeline declares; anything else is our bug.

    Raises:
        AssertionError: the message says in which table, and what it should not do.
    """
    table, _, a_match = key
    # A node has many flows, but few kinds of match, and one body for many flows.
    faults = _kind_faults(int(table), tuple([term if term[0] in _DECISIVE else term[0] for term in a_match]))
    if not faults and _checked.get((table, id(body))) is not body:
        faults = tuple(_body_faults(table, body))
        if len(_checked) == _CHECKED_KEPT:
            _checked.clear()
        if not faults:
            _checked[table, id(body)] = body
    if faults:
        raise AssertionError(f"table {table}, {a_match}: {faults[0]}")


def check_all(flows: Flows) -> None:
    """Every flow is one that the pipeline declares. Of a row that is alike but for a value one is looked at.

    Raises:
        AssertionError: see `check`.
    """
    table, body, first, field = -1, None, None, None
    for key, a_body in flows.items():
        a_table, _, a_match = key
        if len(a_match) != 2:
            check(key, a_body)
        elif a_body is not body or a_match[0] is not first or a_match[1][0] is not field or a_table != table:
            check(key, a_body)
            if a_match[1][0] not in _DECISIVE:
                table, body, first, field = a_table, a_body, a_match[0], a_match[1][0]


_DECISIVE = frozenset((_F.ETH_TYPE, _F.IP_PROTO, _F.CT_NW_PROTO))
"""What other fields need; of all but these it does not matter what they are to be."""

_checked: dict[tuple[int, int], FlowBody] = {}
"""Bodies that were found good, by table and identity; kept, so that no other gets their identity."""

_CHECKED_KEPT = 4096


@lru_cache(maxsize=4096)
def _kind_faults(table: int, kind: tuple[Term | Field, ...]) -> tuple[str, ...]:
    spec = _SPECS.get(table)
    if spec is None:
        return ("there is no such table",)
    return tuple(_match_faults(spec, kind))


def _body_faults(table: int, body: FlowBody) -> Iterator[str]:
    yield from _action_faults(table, _SPECS[table], body.actions)
    if cookies.unpack(body.cookie) is None:
        yield f"cookie {body.cookie:#x} is not ours"


_SPECS: dict[int, TableSpec] = {table.value: spec for table, spec in TABLES.items()}


def _match_faults(spec: TableSpec, kind: tuple[Term | Field, ...]) -> Iterator[str]:
    said = {one.field: one.value for one in kind if isinstance(one, Term) and one.mask is None}
    for field in (one.field if isinstance(one, Term) else one for one in kind):
        if field not in spec.matches:
            yield f"the table does not match {field.name}"
        for needed, values in NEEDS.get(field, ()):
            if said.get(needed) not in values:
                yield f"{field.name} without {needed.name} being one of {values}"


def _action_faults(table: int, spec: TableSpec, actions: Actions) -> Iterator[str]:
    soft = {isinstance(action, Conjunction) for action in actions}
    if soft == {True}:
        return
    if True in soft:
        yield "conjunction() stands with other actions, which would never run"
    for place, action in enumerate(actions):
        match action:
            case Goto(table=target):
                if place < len(actions) - 1:
                    yield "actions after goto_table"
            case Resubmit(table=target) | Ct(table=int(target)):
                pass
            case Learn(table=learnt):
                if learnt != Table.AFFINITY:
                    yield f"learns into table {learnt}, where nobody expects it"
                continue
            case _:
                continue
        if target <= table:
            yield f"sends a packet back to table {target}"
        if target not in spec.leads_to:
            yield f"table {target} is not declared to follow {Table(table).name}"
