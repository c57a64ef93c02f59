"""Flows as people see them: goldens in the notation of ovs-ofctl, and the way back."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from sluice.contracts.ids import Address, GroupId, Uid
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    PortRange,
    Program,
    Rule,
    ServicePeer,
    ServiceRef,
    TransportTraffic,
)
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    AnyAction,
    Controller,
    Ct,
    FlowBody,
    FlowKey,
    Group,
    Match,
    MoveField,
    Nat,
    Output,
    Resubmit,
    SetField,
    match,
)
from sluice.dataplane.ovs.fqdn import Fact
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.parse import NotAFlow, read, read_all
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.text import write, write_all
from sluice.dataplane.protocols import EthType
from sluice.testkit import golden, worlds
from sluice.testkit.examples import share
from sluice.testkit.worlds import HERE, allow, member, page, program, rule

GOLDEN = Path(__file__).parent / "golden"
IN, OUT = Direction.INGRESS, Direction.EGRESS
WEB, CLIENTS = GroupId("web"), GroupId("clients")
POLICY = worlds.UNITS[0]
SERVED = ServiceRef(namespace="y", name="web")


def tcp(first: int, last: int | None = None) -> TransportTraffic:
    return TransportTraffic(protocol="TCP", ports=PortRange(first, first if last is None else last))


def story(*programs: Program) -> Inputs:
    """x/a serves, x/b is a client here and y/b one elsewhere; x/a's port is 1, x/b's 2."""
    ports = [
        LocalPort("x/a", Uid("uid-x/a"), 1, "02:00:00:00:00:01", (Address("10.0.0.1"),)),
        LocalPort("x/b", Uid("uid-x/b"), 2, "02:00:00:00:00:02", (Address("10.0.0.2"),)),
    ]
    v4 = {one: member(one) for one in ("x/a", "x/b", "y/b")}
    pages = [page(WEB, HERE, v4["x/a"]), page(CLIENTS, HERE, v4["x/b"]), page(CLIENTS, worlds.NODES[1], v4["y/b"])]
    return Inputs(
        node=HERE,
        services={SERVED: frozenset((1,))},
        programs={(one.applied_to, one.unit): one for one in programs},
        pages={(one.group, one.node): one for one in pages},
        ports={one.uid: one for one in ports},
        facts=frozenset(
            Fact(pattern, Address(f"192.0.2.{number}"), Uid(holder))
            for pattern, number, holder in (("*foobar.com", 1, "uid-x/a"), ("www.evil.com", 6, ""))
        ),
    )


def at_doors(one: Rule) -> Rule:
    """The rule, applied to NodePorts."""
    return msgspec.structs.replace(one, services=(SERVED,))


STORIES: dict[str, tuple[Program, ...]] = {
    "no-policy": (),
    "isolated": (program(POLICY, WEB, isolates=(IN, OUT)),),
    "web-from-clients": (program(POLICY, WEB, allow(0, IN, (GroupPeer(group=CLIENTS),), (tcp(80),)), isolates=(IN,)),),
    "anybody": (program(POLICY, WEB, allow(0, IN), isolates=(IN,)),),
    "port-range": (program(POLICY, WEB, allow(0, IN, None, (tcp(8000, 8011),)), isolates=(IN,)),),
    "egress-to-block": (
        program(
            POLICY, WEB, allow(0, OUT, (BlockPeer(cidr="192.0.2.0/24", excepts=("192.0.2.128/26",)),)), isolates=(OUT,)
        ),
    ),
    "named-port": (
        program(
            POLICY, WEB, allow(0, IN, (GroupPeer(group=CLIENTS),), (TransportTraffic(protocol="TCP", ports="web"),))
        ),
    ),
    "names": (
        program(
            worlds.TIER_UNITS[1],
            WEB,
            rule(0, OUT, Action.DROP, (FqdnPeer(pattern="www.evil.com"),)),
            rule(1, OUT, Action.ALLOW, (FqdnPeer(pattern="*foobar.com"),), (tcp(8080),)),
            tier=250,
            priority=1,
        ),
    ),
    "icmp": (program(POLICY, WEB, allow(0, IN, None, (IcmpTraffic(icmp_type=8, icmp_code=0),)), isolates=(IN,)),),
    "tier": (
        program(
            worlds.TIER_UNITS[1],
            WEB,
            rule(0, IN, Action.DROP, (GroupPeer(group=CLIENTS),), (tcp(80),)),
            rule(1, IN, Action.PASS, (BlockPeer(cidr="10.0.0.0/8"),)),
            rule(2, IN, Action.ALLOW),
            rule(0, OUT, Action.ALLOW, (BlockPeer(cidr="192.0.2.0/24"),)),
            rule(1, OUT, Action.REJECT),
            tier=50,
            priority=5,
        ),
    ),
    "baseline": (
        program(POLICY, WEB, isolates=(IN,)),
        program(
            worlds.TIER_UNITS[1],
            WEB,
            rule(0, IN, Action.ALLOW, None, (tcp(80),)),
            rule(0, OUT, Action.DROP),
            tier=253,
            priority=5,
        ),
    ),
    "source-port-and-sctp": (
        program(
            worlds.TIER_UNITS[1],
            WEB,
            rule(
                0,
                OUT,
                Action.DROP,
                None,
                (
                    TransportTraffic(protocol="SCTP", ports=PortRange(7, 7)),
                    TransportTraffic(protocol="UDP", ports=PortRange(53, 53), source_ports=PortRange(1024, 2047)),
                ),
            ),
            tier=250,
            priority=5,
        ),
    ),
    "service-rules": (
        program(
            worlds.TIER_UNITS[1],
            WEB,
            rule(0, OUT, Action.DROP, (ServicePeer(service=SERVED),)),
            at_doors(rule(0, IN, Action.DROP, (BlockPeer(cidr="198.51.100.0/24"),))),
            at_doors(rule(1, IN, Action.PASS)),
            tier=250,
            priority=5,
        ),
        program(worlds.TIER_UNITS[2], WEB, at_doors(rule(0, IN, Action.REJECT)), tier=253, priority=5),
    ),
    "logged": (
        program(POLICY, WEB, allow(0, IN, (GroupPeer(group=CLIENTS),), logs=True), isolates=(IN,), logs_isolation=True),
        program(
            worlds.TIER_UNITS[1],
            WEB,
            rule(0, IN, Action.REJECT, None, (tcp(22),), logs=True),
            rule(1, IN, Action.PASS, None, (tcp(80),), logs=True),
            tier=250,
            priority=5,
        ),
    ),
    "two-policies-meet": (
        program(POLICY, WEB, allow(0, IN, (GroupPeer(group=CLIENTS),), (tcp(80),)), isolates=(IN,)),
        program(worlds.UNITS[1], WEB, allow(0, IN, (GroupPeer(group=CLIENTS),), (tcp(443),)), isolates=(IN,)),
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_golden(name: str):
    """All flows without a policy; with one, those that it adds."""
    without = lower(story(), RuleIds()) if STORIES[name] else {}
    flows = lower(story(*STORIES[name]), RuleIds())

    assert without.items() <= flows.items()
    golden.check(GOLDEN / f"{name}.flows", write_all({key: flows[key] for key in flows.keys() - without.keys()}))


@share(40)
@given(worlds.inputs())
def test_what_is_written_is_read_as_it_was(world: Inputs):
    flows = lower(world, RuleIds())

    assert read_all(write_all(flows)) == flows


ACTIONS: list[tuple[str, tuple[AnyAction, ...]]] = [
    ("drop", ()),
    ("output:7", (Output(7),)),
    ("IN_PORT", (Output(0xFFFFFFF8),)),
    ("LOCAL", (Output(0xFFFFFFFE),)),
    ("resubmit(,40)", (Resubmit(40),)),
    ("group:9", (Group(9),)),
    ("ct(table=40,zone=5,nat)", (Ct(5, table=40, nat=Nat()),)),
    ("ct(commit,table=40,zone=5,nat(dst=10.0.0.1:80))", (Ct(5, True, 40, (), Nat("dst", 4, 0x0A000001, 80)),)),
    ("ct(commit,table=40,zone=5,nat(src=10.0.0.1))", (Ct(5, True, 40, (), Nat("src", 4, 0x0A000001)),)),
    ("ct(commit,table=40,zone=5,nat(dst=[fd00::1]:80))", (Ct(5, True, 40, (), Nat("dst", 6, 0xFD << 120 | 1, 80)),)),
    ("ct(commit,table=40,zone=5,nat(src=fd00::1))", (Ct(5, True, 40, (), Nat("src", 6, 0xFD << 120 | 1)),)),
    ("move:NXM_NX_CT_MARK[1]->NXM_NX_REG0[4]", (MoveField(Field.CT_MARK, Field.REG0, 1, 1, 4),)),
    ("set_field:0x1/0x1->reg0", (SetField(Field.REG0, 1, 1),)),
    ("set_field:10.0.0.1->ip_dst", (SetField(Field.IPV4_DST, 0x0A000001),)),
    ("ct(commit,zone=5,exec(set_field:0x5/0xf->ct_mark))", (Ct(5, True, None, (SetField(Field.CT_MARK, 5, 15),)),)),
    ("move:NXM_NX_REG1[0..15]->NXM_NX_REG2[16..31]", (MoveField(Field.REG1, Field.REG2, 16, 0, 16),)),
    ("controller(userdata=01.02,pause,meter_id=3)", (Controller(b"\1\2", True, 3),)),
    ("controller(id=2,userdata=02,meter_id=2)", (Controller(b"\2", meter_id=2, controller_id=2),)),
    ("controller()", (Controller(),)),
]


@pytest.mark.parametrize(("text", "actions"), ACTIONS, ids=[text for text, _ in ACTIONS])
def test_actions(text: str, actions: tuple[AnyAction, ...]):
    key, body = FlowKey(0, 1, ()), FlowBody(actions, 0)

    assert write(key, body) == f"cookie=0x0, priority=1 actions={text}"
    assert read(write(key, body)) == (key, body)


IPV6 = (Field.ETH_TYPE, EthType.IPV6)
MATCHES: list[tuple[str, Match]] = [
    ("in_port=5", match((Field.IN_PORT, 5))),
    ("ct_state=-new+est+trk", match((Field.CT_STATE, 0x22, 0x23))),
    ("ip,nw_src=10.0.0.0/8", match((Field.ETH_TYPE, EthType.IPV4), (Field.IPV4_SRC, 10 << 24, 0xFF << 24))),
    ("ip,nw_src=10.0.0.1/255.0.0.255", match((Field.ETH_TYPE, EthType.IPV4), (Field.IPV4_SRC, 0x0A000001, 0xFF0000FF))),
    ("ipv6,ipv6_dst=fd00::/64", match(IPV6, (Field.IPV6_DST, 0xFD << 120, (1 << 128) - (1 << 64)))),
    (
        "icmp6,icmp_type=135,nd_target=fe80::1",
        match(IPV6, (Field.IP_PROTO, 58), (Field.ICMPV6_TYPE, 135), (Field.ND_TARGET, 0xFE80 << 112 | 1)),
    ),
    ("tcp,tp_dst=0x50/0xfff0", match((Field.ETH_TYPE, EthType.IPV4), (Field.IP_PROTO, 6), (Field.TCP_DST, 80, 0xFFF0))),
    ("ip,nw_proto=89", match((Field.ETH_TYPE, EthType.IPV4), (Field.IP_PROTO, 89))),
    ("dl_type=0x88cc", match((Field.ETH_TYPE, 0x88CC))),
    ("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", match((Field.ETH_DST, 1 << 40, 1 << 40))),
]


@pytest.mark.parametrize(("text", "said"), MATCHES, ids=[text for text, _ in MATCHES])
def test_matches(text: str, said: Match):
    key, body = FlowKey(0, 1, said), FlowBody((), 0)

    assert write(key, body) == f"cookie=0x0, priority=1,{text} actions=drop"
    assert read(write(key, body)) == (key, body)


def test_a_dump_with_statistics_is_read():
    line = " cookie=0x5, duration=1.2s, table=3, n_packets=0, n_bytes=0, priority=7,ip actions=drop"

    assert read(line) == (FlowKey(3, 7, match((Field.ETH_TYPE, 0x800))), FlowBody((), 5))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("table=1", "no actions="),
        ("colour=red actions=drop", "'colour'"),
        ("in_port=eth0 actions=drop", "'eth0'"),
        ("ip,nw_src=10.0.0.300 actions=drop", "'10.0.0.300'"),
        ("ct_state=+odd actions=drop", "'odd'"),
        ("actions=flood", "'flood'"),
        ("actions=ct(commit,alg=ftp,zone=1)", "ct with alg"),
    ],
)
def test_what_is_no_flow_of_ours_is_refused_by_name(line: str, word: str):
    with pytest.raises(NotAFlow, match=word):
        read(line)
