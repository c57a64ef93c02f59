"""The pipeline as data: the tables, what each may match, and where a packet may go from it.

Pods are routed, never bridged: the switch answers every ARP request with one virtual MAC, and forwards by IP address
alone. Nothing is learned, nothing is flooded, and what no flow matches is dropped. docs/backends/ovs.md follows a
packet; `checking` checks every flow against the declarations here; `base` has the flows that are always there.
"""

from enum import IntEnum
from typing import NamedTuple

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.registers import COPIES, COUNTED, ENDPOINT_NUMBER, FLAGS, L7_VLANS, OUT_PORT, SERVICE_PORT

VIRTUAL_MAC = 0x0A58A9FE0101
"""The MAC that Pods send to. Locally administered; its last four bytes are their gateway's address, 169.254.1.1."""

PRIORITY_MISS = 0
PRIORITY = 100
"""For flows that do not overlap within their table."""

PRIORITY_FIRST = 200
"""Above PRIORITY."""

PRIORITY_TOP = 0xFFFF
"""The highest possible. Source: OpenFlow 1.5.1, struct ofp_flow_mod: 16 bits."""

PRIORITY_PLAIN = 40_000
"""Policy tables: rules that match in only one dimension. Above clauses, so the two never share a flow."""

PRIORITY_CLAUSES = PRIORITY_PLAIN - 1
"""Policy tables: the clauses of the rules in lane 0; each further lane is one priority lower."""


class Table(IntEnum):
    """The main tables are spaced by ten, so that others fit in between. Code and documentation use the names."""

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
    MID_STREAM = 124
    MASK = 125
    COPY_SENT = 126
    COPY_RECEIVED = 127
    COPY = 128
    REDIRECT = 129
    OUTPUT = 130
    AUDIT = 135


class TableSpec(NamedTuple):
    does: str
    """As shown to people, after "which": in table 80 FORWARD, which finds the port that leads to the destination."""

    matches: frozenset[Field]
    leads_to: tuple[Table, ...]
    """Tables that its flows may send a packet to. All have higher numbers, so packets cannot loop."""

    miss: Table | None
    """Where a packet goes that no other flow of the table matches; None: it is dropped."""


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
        "sorts packets by the port that they come from, and drops those from ports that are not open",
        frozenset((_F.IN_PORT,)),
        (Table.RETURN, Table.SPOOF_GUARD, Table.L7_UNTAG),
        None,
    ),
    Table.RETURN: TableSpec(
        "asks the connection tracker whether a packet from a return port was redirected before",
        frozenset((_F.ETH_TYPE,)),
        (Table.RETURN_STATE,),
        None,
    ),
    Table.RETURN_STATE: TableSpec(
        "accepts packets that were redirected before, and undoes the translation of replies from Services",
        frozenset((_F.ETH_TYPE, _F.CT_STATE, _F.CT_MARK)),
        (Table.REJOIN,),
        None,
    ),
    Table.REJOIN: TableSpec(
        "marks packets that came back as allowed by policy, since they were before, and sends them on",
        frozenset((_F.ETH_TYPE,)),
        (Table.FORWARD,),
        None,
    ),
    Table.SPOOF_GUARD: TableSpec(
        "drops packets whose source address does not belong to the port that they come from",
        _ARP | _SOURCE | {_F.IN_PORT, _F.ETH_SRC, _F.TUN_SRC, _F.TUN_IPV6_SRC},
        (Table.ARP, Table.CONNTRACK),
        None,
    ),
    Table.ARP: TableSpec("answers ARP requests with the virtual MAC", _ARP | {_F.IN_PORT}, (), None),
    Table.CONNTRACK: TableSpec(
        "looks packets up in the connection tracker, after undoing the second translation of replies; "
        "multicast bypasses it",
        _DESTINATION | {_F.IN_PORT, _F.IP_PROTO, FLAGS},
        (Table.UNMASKED, Table.L7_ANSWER, Table.WATCHED, Table.CONNTRACK_STATE, Table.EGRESS_TIER, Table.MULTICAST),
        None,
    ),
    Table.L7_UNTAG: TableSpec(
        "removes the VLAN tag of packets that come back from the inspection engine",
        frozenset((_F.VLAN_VID,)),
        (Table.L7_UNTAG_AGAIN,),
        Table.L7_UNTAG_AGAIN,
    ),
    Table.L7_UNTAG_AGAIN: TableSpec(
        "removes a second VLAN tag", frozenset((_F.VLAN_VID,)), (Table.L7_RETURN,), Table.L7_RETURN
    ),
    Table.L7_RETURN: TableSpec(
        "reads from the MAC addresses what was known of the packet before its inspection",
        _TRAFFIC | {_F.ETH_SRC},
        (Table.L7_NEXT,),
        None,
    ),
    Table.L7_NEXT: TableSpec(
        "sends inspected packets on, or to the engine once more for the rule at the other end",
        _DESTINATION | {_F.IN_PORT, _F.IP_PROTO, _F.TCP_FLAGS, FLAGS, L7_VLANS},
        (Table.L7_ANSWER, Table.CONNTRACK_STATE, Table.DNS_CLIENT, Table.FORWARD, Table.L7_SEND),
        Table.L7_SEND,
    ),
    Table.UNMASKED: TableSpec(
        "looks up in the connection tracker replies to a translated source, now translated back",
        frozenset((_F.ETH_TYPE,)),
        (Table.L7_ANSWER, Table.CONNTRACK_STATE),
        None,
    ),
    Table.L7_ANSWER: TableSpec(
        "sends replies of inspected connections through the engine, before their translation is undone",
        frozenset((_F.CT_STATE, _F.CT_MARK, _F.ETH_TYPE, _F.IP_PROTO, _F.TCP_FLAGS, FLAGS)),
        (Table.CONNTRACK_STATE, Table.COUNT, Table.L7_SEND),
        Table.CONNTRACK_STATE,
    ),
    Table.WATCHED: TableSpec(
        "keeps the endpoint's address in replies that a TrafficControl copies or redirects",
        frozenset((_F.ETH_TYPE, _F.CT_STATE, _F.CT_MARK, _F.CT_NW_PROTO, _F.CT_TP_DST, _F.IP_PROTO, _F.TCP_FLAGS)),
        (Table.CONNTRACK_STATE, Table.DNS_CLIENT, Table.COUNT, Table.L7_SEND),
        None,
    ),
    Table.CONNTRACK_STATE: TableSpec(
        "tells new connections from those that were allowed before, and drops invalid packets",
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
    Table.NODE_ADDRESS: TableSpec(
        "recognises packets to addresses of nodes, which may be for a NodePort",
        _DESTINATION,
        (Table.SERVICE,),
        Table.SERVICE,
    ),
    Table.SERVICE: TableSpec(
        "recognises packets to Services, and has an endpoint chosen",
        _TRAFFIC | _DESTINATION | {FLAGS},
        (Table.AFFINITY, Table.CHOICE, Table.ENDPOINT, Table.EGRESS_TIER),
        Table.EGRESS_TIER,
    ),
    Table.AFFINITY: TableSpec("recalls which endpoint a client has, for session affinity", frozenset(), (), None),
    Table.CHOICE: TableSpec(
        "chooses an endpoint for a client that has none yet",
        frozenset((ENDPOINT_NUMBER, FLAGS, SERVICE_PORT, _F.ETH_TYPE)),
        (Table.LEARN, Table.ENDPOINT),
        Table.ENDPOINT,
    ),
    Table.LEARN: TableSpec(
        "has the switch learn the endpoint chosen, for session affinity",
        frozenset((ENDPOINT_NUMBER, _F.ETH_TYPE, _F.IP_PROTO)),
        (Table.ENDPOINT,),
        None,
    ),
    Table.ENDPOINT: TableSpec(
        "translates the Service's address and port to those of the endpoint",
        frozenset((ENDPOINT_NUMBER, _F.ETH_TYPE, _F.IP_PROTO)),
        (Table.NODE_PORT,),
        None,
    ),
    Table.NODE_PORT: TableSpec(
        "applies the rules of tiers to clients of NodePorts",
        _INGRESS | {SERVICE_PORT, FLAGS},
        (Table.NODE_PORT_DEFAULT, Table.EGRESS_TIER, Table.AUDIT, Table.COUNT),
        Table.NODE_PORT_DEFAULT,
    ),
    Table.NODE_PORT_DEFAULT: TableSpec(
        "applies the rules of the baseline to clients of NodePorts",
        _INGRESS | {SERVICE_PORT, FLAGS},
        (Table.EGRESS_TIER, Table.AUDIT, Table.COUNT),
        Table.EGRESS_TIER,
    ),
    Table.EGRESS_TIER: TableSpec(
        "applies the egress rules of tiers",
        _EGRESS,
        (Table.EGRESS_K8S, Table.EGRESS_L7, Table.FORWARD, Table.AUDIT, Table.COUNT),
        Table.EGRESS_K8S,
    ),
    Table.EGRESS_K8S: TableSpec(
        "applies the egress rules of Kubernetes policies",
        _EGRESS,
        (Table.EGRESS_DEFAULT, Table.FORWARD, Table.AUDIT, Table.COUNT),
        Table.EGRESS_DEFAULT,
    ),
    Table.EGRESS_DEFAULT: TableSpec(
        "drops what an isolated Pod sends and no rule allowed; then applies the egress rules of the baseline",
        _EGRESS,
        (Table.EGRESS_L7, Table.FORWARD, Table.AUDIT, Table.COUNT),
        Table.FORWARD,
    ),
    Table.DNS_CLIENT: TableSpec(
        "recognises replies to Pods that rules about DNS names apply to",
        _DESTINATION,
        (Table.DNS_ANSWER, Table.FORWARD),
        Table.FORWARD,
    ),
    Table.DNS_ANSWER: TableSpec(
        "recognises DNS answers, and drops those above the rate limit",
        frozenset((_F.ETH_TYPE, _F.IP_PROTO, _F.TCP_SRC, _F.UDP_SRC)),
        (Table.DNS_HOLD, Table.FORWARD),
        Table.FORWARD,
    ),
    Table.DNS_HOLD: TableSpec(
        "holds DNS answers until the switch has the rules for their addresses", frozenset(), (Table.FORWARD,), None
    ),
    Table.EGRESS_L7: TableSpec(
        "drops what the inspection engine cannot inspect: everything but TCP",
        frozenset((_F.ETH_TYPE, _F.IP_PROTO)),
        (Table.FORWARD,),
        None,
    ),
    Table.FORWARD: TableSpec(
        "finds the port that leads to the destination",
        _DESTINATION | {FLAGS, _F.IN_PORT},
        (Table.MULTICAST, Table.INGRESS_TIER, Table.COUNT),
        None,
    ),
    Table.MULTICAST: TableSpec("delivers to the members of the multicast group", _DESTINATION | {FLAGS}, (), None),
    Table.INGRESS_TIER: TableSpec(
        "lets connections pass that were allowed before; then applies the ingress rules of tiers",
        _INGRESS | {FLAGS},
        (Table.INGRESS_K8S, Table.TALLY, Table.AUDIT, Table.COUNT),
        Table.INGRESS_K8S,
    ),
    Table.INGRESS_K8S: TableSpec(
        "applies the ingress rules of Kubernetes policies",
        _INGRESS,
        (Table.INGRESS_DEFAULT, Table.TALLY, Table.AUDIT, Table.COUNT),
        Table.INGRESS_DEFAULT,
    ),
    Table.INGRESS_DEFAULT: TableSpec(
        "drops what is sent to an isolated Pod and no rule allowed; then applies the ingress rules of the baseline",
        _INGRESS,
        (Table.TALLY, Table.AUDIT, Table.COUNT),
        Table.TALLY,
    ),
    Table.TALLY: TableSpec(
        "has each rule that allowed the packet count it",
        frozenset((FLAGS,)),
        (Table.COUNT, Table.COMMIT, Table.MASK),
        None,
    ),
    Table.COUNT: TableSpec("counts the packet for one rule", frozenset((COUNTED, _F.CT_STATE, _F.CT_MARK)), (), None),
    Table.COMMIT: TableSpec(
        "has the connection tracker remember a new connection, and the rules that allowed it",
        frozenset((_F.ETH_TYPE, _F.IP_PROTO, _F.CT_STATE, _F.TCP_FLAGS, FLAGS)),
        (Table.L7_TAG, Table.MID_STREAM, Table.MASK),
        None,
    ),
    Table.L7_TAG: TableSpec(
        "gives a new connection a tag, and has the connection tracker remember both",
        frozenset((_F.ETH_TYPE,)),
        (Table.L7_SEND,),
        None,
    ),
    Table.L7_SEND: TableSpec(
        "writes into the MAC addresses what must be known of the packet after its inspection",
        frozenset((FLAGS, L7_VLANS)),
        (Table.L7_VLAN,),
        None,
    ),
    Table.L7_VLAN: TableSpec(
        "sends the packet to the inspection engine, in the VLAN of its rules", frozenset((L7_VLANS,)), (), None
    ),
    Table.MID_STREAM: TableSpec(
        "accepts connections that the tracker sees first in the middle; resets them if the packet may reply to "
        "an inspected request",
        frozenset((_F.IN_PORT, _F.ETH_TYPE, _F.IP_PROTO, _F.TCP_SRC, _F.TCP_DST, _F.IPV4_DST, _F.IPV6_DST)),
        (Table.MASK,),
        None,
    ),
    Table.MASK: TableSpec(
        "translates a source to which replies would take another way back",
        frozenset((_F.ETH_TYPE, FLAGS, OUT_PORT)),
        (Table.COPY_SENT, Table.OUTPUT),
        Table.COPY_SENT,
    ),
    Table.COPY_SENT: TableSpec(
        "determines by the sender which TrafficControls copy the packet",
        frozenset((_F.IN_PORT, FLAGS)),
        (Table.COPY_RECEIVED, Table.OUTPUT),
        Table.COPY_RECEIVED,
    ),
    Table.COPY_RECEIVED: TableSpec(
        "determines by the receiver which TrafficControls copy the packet",
        frozenset((OUT_PORT, FLAGS)),
        (Table.COPY,),
        Table.COPY,
    ),
    Table.COPY: TableSpec("sends copies, one to each target", frozenset((COPIES,)), (Table.REDIRECT,), Table.REDIRECT),
    Table.REDIRECT: TableSpec(
        "sends redirected packets to the target of the TrafficControl instead of their destination",
        frozenset((_F.IN_PORT, _F.ETH_TYPE, OUT_PORT, FLAGS)),
        (Table.OUTPUT,),
        Table.OUTPUT,
    ),
    Table.OUTPUT: TableSpec("sends the packet out", frozenset((FLAGS,)), (), None),
    Table.AUDIT: TableSpec("has the first packet of a connection logged", frozenset((_F.CT_MARK,)), (), None),
}
