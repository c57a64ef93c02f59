"""Cookies: they identify a flow as ours, and say what it is for.

    bits 63..48  owner mark, the same in all our flows, so that anybody can sweep them
    bits 47..40  kind of flow
    bits 39..32  0
    bits 31..0   number: of the rule for RULE, ISOLATION and COUNT, of the OpenFlow port for PORT and UPLINK, of the
                 endpoint for AFFINITY, of the VLAN for L7, of one TrafficControl or of sets of them for
                 TRAFFIC_CONTROL, else 0

A CLAUSE flow belongs to every rule that its conjunction actions name, so its cookie names none.
"""

from enum import IntEnum
from typing import NamedTuple

OWNER = 0x51CE
"""Our mark ("SLICE"). Antrea's cookies begin with a round number, OVN's with a 32-bit hash."""

OWNER_SHIFT = 48
KIND_SHIFT = 40


class CookieKind(IntEnum):
    BASE = 1
    """Always installed, whatever the policies."""

    PORT = 2
    """For one open port of a Pod."""

    CLAUSE = 3
    """One value of one dimension of the rules in its conjunction actions."""

    RULE = 4
    """What happens to a packet that a rule matches."""

    ISOLATION = 5
    """Drops what no rule allowed."""

    ROUTE = 6
    """The route to a node, and the sources that it may send from."""

    UPLINK = 7
    """For the port of the tunnel, the gateway or the inspection engine."""

    SERVICE = 8
    """For a Service: its ports, its endpoints."""

    AFFINITY = 9
    """Learnt by the switch: which endpoint a client has."""

    L7 = 10
    """The path into the inspection engine, for one rule set."""

    TRAFFIC_CONTROL = 11
    """Copies or redirects, or takes back what was redirected."""

    FQDN = 12
    """Holds back DNS answers."""

    COUNT = 13
    """Counts what a rule decides."""

    MULTICAST = 14
    """Delivers a multicast group that somebody has joined."""

    MID_STREAM = 15
    """Resets a connection that the tracker would take for one begun by the other end."""


class Cookie(NamedTuple):
    kind: CookieKind
    number: int = 0


def pack(kind: CookieKind, number: int = 0) -> int:
    return OWNER << OWNER_SHIFT | kind << KIND_SHIFT | number


def unpack(cookie: int) -> Cookie | None:
    """The content of the cookie; None if it is not ours (or of a later version)."""
    kind = _KINDS.get(cookie >> KIND_SHIFT & 0xFF)
    return Cookie(kind, cookie & 0xFFFFFFFF) if kind is not None and is_ours(cookie) else None


def is_ours(cookie: int) -> bool:
    """Whether the flow is ours, to change and to remove."""
    return cookie >> OWNER_SHIFT == OWNER


_KINDS = {kind.value: kind for kind in CookieKind}

SAYS: dict[CookieKind, str] = {
    CookieKind.BASE: "is always installed, whatever the policies",
    CookieKind.PORT: "belongs to one open port of a Pod",
    CookieKind.CLAUSE: "matches one value (a peer or a port) of these rules",
    CookieKind.RULE: "does what this rule says with the packets that it matches",
    CookieKind.ISOLATION: "drops what no rule allowed",
    CookieKind.ROUTE: "leads to a node, and checks the sources that it may send from",
    CookieKind.UPLINK: "belongs to the port of the tunnel, the gateway or the inspection engine",
    CookieKind.SERVICE: "belongs to a Service: its ports and its endpoints",
    CookieKind.AFFINITY: "was learnt by the switch: which endpoint a client has",
    CookieKind.L7: "sends packets to the inspection engine, for these rules",
    CookieKind.TRAFFIC_CONTROL: "copies or redirects traffic of Pods, or accepts redirected traffic that comes back",
    CookieKind.FQDN: "holds DNS answers until the rules for their addresses are in force",
    CookieKind.COUNT: "counts the packets that this rule decides about",
    CookieKind.MULTICAST: "delivers packets of a multicast group to those that joined it",
    CookieKind.MID_STREAM: (
        "resets a connection that the tracker sees first in the middle, by what may be a reply to an inspected request"
    ),
}
"""What flows of each kind are for, as shown to people."""
