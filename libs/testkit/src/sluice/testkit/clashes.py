"""Policies with flows that interact in ways that conjunctive matches easily get wrong, each with its reason."""

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import (
    BlockPeer,
    Direction,
    GroupPeer,
    IcmpTraffic,
    PortRange,
    Rule,
    TransportTraffic,
)
from sluice.dataplane.ovs.lower import Inputs
from sluice.testkit.worlds import HERE, PODS, UNITS, allow, member, page, port, program, uid

MINE, PEERS = GroupId("mine"), GroupId("peers")
IN, OUT = Direction.INGRESS, Direction.EGRESS
BLOCK_29, BLOCK_30 = (BlockPeer(cidr=f"10.0.0.0/{length}") for length in (29, 30))
WEB = TransportTraffic(protocol="TCP", ports="web")


def tcp(first: int, last: int | None = None) -> TransportTraffic:
    return TransportTraffic(protocol="TCP", ports=PortRange(first, first if last is None else last))


_MINE, _PEERS = GroupPeer(group=MINE), GroupPeer(group=PEERS)
_RULES: dict[str, list[list[Rule]]] = {
    "plain allow and clauses of equal match": [[allow(0, IN), allow(1, IN, (_PEERS,), (tcp(80),))]],
    "a plain allow of one policy, clauses of others": [
        [allow(0, IN, None, (tcp(80),))],
        [allow(0, IN)],
        [allow(0, IN, (BLOCK_29,))],
    ],
    "CIDRs that overlap with other masks, in two rules": [
        [allow(0, IN, (BLOCK_29,), (tcp(80),))],
        [allow(0, IN, (BLOCK_30,), (IcmpTraffic(),))],
    ],
    "CIDRs that overlap with other masks, in one rule": [
        [allow(0, IN, (BLOCK_29, BLOCK_30, BlockPeer(cidr="10.0.0.1/32")), (tcp(80),))]
    ],
    "a CIDR whose except another rule allows": [
        [allow(0, OUT, (BlockPeer(cidr="10.0.0.0/29", excepts=("10.0.0.2/32", "10.0.0.4/31")),), (tcp(80),))],
        [allow(0, OUT, (BlockPeer(cidr="10.0.0.4/32"),), (tcp(80, 82),))],
    ],
    "the same address on both sides of a rule": [
        [allow(0, IN, (_MINE,), (tcp(80),)), allow(0, OUT, (_MINE,), (tcp(80),))]
    ],
    "ranges of ports that overlap": [
        [allow(0, IN, None, (tcp(79, 81),))],
        [allow(0, IN, (BLOCK_30,), (tcp(80, 443),))],
    ],
    "a port and all ports of its protocol": [
        [allow(0, IN, (_PEERS,), (TransportTraffic(protocol="TCP"), tcp(80)))],
        [allow(0, IN, (_MINE,), (tcp(82),))],
    ],
    "a named port and its number": [[allow(0, IN, (_PEERS,), (WEB, tcp(80)))]],
    "a named port towards peers and a block": [[allow(0, OUT, (_PEERS, BLOCK_29), (WEB, tcp(82)))]],
    "everybody, by address": [[allow(0, IN, (BlockPeer(cidr="0.0.0.0/0"), BlockPeer(cidr="::/0")), (tcp(80),))]],
    "nobody": [[allow(0, IN, ())]],
    "nothing": [[allow(0, IN, None, ())]],
    "a group without members": [[allow(0, IN, (GroupPeer(group=GroupId("none")),), (tcp(80),))]],
}


def _world(policies: list[list[Rule]]) -> Inputs:
    """x/a, x/b and x/c are isolated and have the policies; x/b and y/a are their peers."""
    programs = [program(UNITS[place], MINE, *rules, isolates=(IN, OUT)) for place, rules in enumerate(policies)]
    mine, peers = (member("x/a"), member("x/b", 82), member("x/c")), (member("x/b", 82), member("y/a"))
    pages = [page(MINE, HERE, *mine), page(PEERS, HERE, *peers)]
    return Inputs(
        node=HERE,
        programs={(one.applied_to, one.unit): one for one in programs},
        pages={(one.group, one.node): one for one in pages},
        ports={uid(pod): port(pod) for pod in PODS},
    )


CLASHES: dict[str, Inputs] = {name: _world(policies) for name, policies in _RULES.items()}
