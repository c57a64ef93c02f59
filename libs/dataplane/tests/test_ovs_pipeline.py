"""Every flow is one that the pipeline declares; what is not is refused loudly."""

from typing import Any

import pytest

from sluice.contracts.ids import Uid
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.checking import NEEDS, check, check_all
from sluice.dataplane.ovs.cookies import Cookie, CookieKind
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, Conjunction, Ct, FlowBody, FlowKey, Goto, Match, Output, Term, match
from sluice.dataplane.ovs.ids import LANES
from sluice.dataplane.ovs.layers import PRIORITY_CLOSED
from sluice.dataplane.ovs.pipeline import PRIORITY_CLAUSES, PRIORITY_FIRST, PRIORITY_PLAIN, PRIORITY_TOP, TABLES, Table
from sluice.dataplane.ovs.ports import BadPort, LocalPort
from sluice.dataplane.ovs.priorities import BANDS
from sluice.dataplane.protocols import EthType, IpProto

OURS = cookies.pack(CookieKind.BASE)
IP = match((Field.ETH_TYPE, EthType.IPV4))


def test_what_always_stands_is_declared():
    for key, body in BASE.items():
        check(key, body)


def test_every_table_has_a_miss_flow_and_leads_forward_to_a_declared_table():
    assert {key.table for key in BASE if key.match == () and key.priority == 0} == set(TABLES) == set(Table)
    for table, spec in TABLES.items():
        assert all(table < later for later in spec.leads_to)
        assert spec.miss is None or spec.miss in spec.leads_to


def test_every_table_can_be_reached_from_the_first():
    reached, waiting = set(), [Table.CLASSIFIER]
    while waiting:
        table = waiting.pop()
        reached.add(table)
        waiting += TABLES[table].leads_to
    assert reached == set(Table)


def test_every_field_that_needs_others_has_them_declared_in_each_table_that_matches_it():
    for spec in TABLES.values():
        for field in spec.matches:
            assert {needed for needed, _ in NEEDS.get(field, ())} <= spec.matches


def test_the_lowest_lane_is_above_what_a_table_has_otherwise():
    assert PRIORITY_CLAUSES - LANES + 1 > PRIORITY_FIRST


def test_what_is_closed_goes_before_all_that_a_rule_allows():
    assert max(PRIORITY_PLAIN, *(highest for _, highest in BANDS.values())) < PRIORITY_CLOSED < PRIORITY_TOP


REFUSED: list[tuple[str, FlowKey, Actions, str]] = [
    ("no such table", FlowKey(5, 1, ()), (), "no such table"),
    ("a field of another table", FlowKey(Table.OUTPUT, 1, IP), (), "does not match ETH_TYPE"),
    ("back", FlowKey(Table.FORWARD, 1, ()), (Goto(Table.EGRESS_K8S),), "back to table 60"),
    ("too far ahead", FlowKey(Table.FORWARD, 1, ()), (Goto(Table.OUTPUT),), "not declared to follow FORWARD"),
    ("ct too far ahead", FlowKey(Table.CONNTRACK, 1, IP), (Ct(zone=1, table=Table.FORWARD),), "not declared"),
    ("after goto", FlowKey(Table.CLASSIFIER, 1, ()), (Goto(Table.SPOOF_GUARD), Output(1)), "actions after goto_table"),
    ("conjunction with others", FlowKey(Table.EGRESS_K8S, 1, ()), (Conjunction(1, 1, 2), Output(1)), "conjunction"),
    ("no version", FlowKey(Table.FORWARD, 1, match((Field.IPV4_DST, 1))), (), "without ETH_TYPE"),
    (
        "the other version",
        FlowKey(Table.FORWARD, 1, match((Field.ETH_TYPE, EthType.IPV6), (Field.IPV4_DST, 1))),
        (),
        "without ETH_TYPE being one of",
    ),
    (
        "no protocol",
        FlowKey(Table.EGRESS_K8S, 1, match((Field.ETH_TYPE, EthType.IPV4), (Field.TCP_DST, 80))),
        (),
        "without IP_PROTO",
    ),
    (
        "ICMP over IPv6",
        FlowKey(
            Table.EGRESS_K8S,
            1,
            match((Field.ETH_TYPE, EthType.IPV6), (Field.IP_PROTO, IpProto.ICMP), (Field.ICMP_TYPE, 8)),
        ),
        (),
        "without ETH_TYPE being one of",
    ),
]


@pytest.mark.parametrize(("key", "actions", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_not_declared_is_refused(key: FlowKey, actions: Actions, why: str):
    with pytest.raises(AssertionError, match=why):
        check(key, FlowBody(actions, OURS))


def test_a_flow_without_our_mark_is_refused():
    with pytest.raises(AssertionError, match="is not ours"):
        check(FlowKey(Table.OUTPUT, 1, ()), FlowBody((), 0))


def test_among_many_flows_of_one_kind_and_one_body_each_that_differs_is_looked_at():
    good = FlowBody((Goto(Table.TALLY),), OURS)
    types = {kind: Term(Field.ETH_TYPE, kind) for kind in (EthType.IPV4, EthType.IPV6)}  # one object for many flows

    def flow(number: int, table: Table = Table.INGRESS_K8S, field: Field = Field.IPV4_SRC, kind: int = EthType.IPV4):
        return FlowKey(table, 1, (types[kind], Term(field, number)))

    alike = {flow(number): good for number in range(1, 50)}
    check_all(alike)
    for key, body in (
        (flow(99, field=Field.IPV4_DST), good),
        (flow(99, kind=EthType.IPV6), good),
        (flow(99, table=Table.FORWARD), good),
        (flow(99), FlowBody((Goto(Table.CLASSIFIER),), OURS)),
        (FlowKey(Table.INGRESS_K8S, 1, match((Field.IP_PROTO, 6), (Field.IPV4_SRC, 99))), good),
        (FlowKey(Table.INGRESS_K8S, 1, match((Field.IPV4_SRC, 99))), good),
    ):
        with pytest.raises(AssertionError):
            check_all(alike | {key: body})
        with pytest.raises(AssertionError):
            check_all({key: body} | alike)


# ------------------------------------------------------------------------------------------------------- match, cookies

MATCHES: list[tuple[str, Match, Match]] = [
    ("sorted", match((Field.REG1, 1), (Field.IN_PORT, 2)), match((Field.IN_PORT, 2), (Field.REG1, 1))),
    ("masked", match((Field.REG1, 0xFF, 0xF0)), match((Field.REG1, 0xF0, 0xF0))),
    ("a full mask", match((Field.REG1, 1, 0xFFFFFFFF)), match((Field.REG1, 1))),
    ("an empty mask", match((Field.REG1, 1, 0)), ()),
    ("the same twice", match((Field.REG1, 1), (Field.REG1, 1)), match((Field.REG1, 1))),
]


@pytest.mark.parametrize(("one", "other"), [row[1:] for row in MATCHES], ids=[row[0] for row in MATCHES])
def test_equal_matches_have_one_form(one: Match, other: Match):
    assert one == other


def test_a_match_says_one_thing_of_a_field():
    with pytest.raises(AssertionError, match="reg1"):
        match((Field.REG1, 1), (Field.REG1, 2))


def test_a_key_with_a_table_is_the_key_with_its_number():
    assert FlowKey(Table.ARP, 1, IP) == FlowKey(20, 1, IP)
    assert hash(FlowKey(Table.ARP, 1, IP)) == hash(FlowKey(20, 1, IP))


@pytest.mark.parametrize("kind", list(CookieKind))
def test_a_cookie_says_whose_and_what_it_is(kind: CookieKind):
    packed = cookies.pack(kind, 0xFFFFFFFF)

    assert cookies.unpack(packed) == Cookie(kind, 0xFFFFFFFF)
    assert cookies.is_ours(packed)
    assert packed >> 48 == cookies.OWNER


@pytest.mark.parametrize("cookie", [0, 0x51CF << 48, cookies.pack(CookieKind.BASE) | 0xFF << 40])
def test_a_cookie_of_somebody_else_says_nothing(cookie: int):
    assert cookies.unpack(cookie) is None


# ---------------------------------------------------------------------------------------------------------------- ports

BAD_PORTS = [
    ("no port number", (-1, "02:00:00:00:00:01", ("10.0.0.1",)), "an OpenFlow port is 1..65279"),
    ("a reserved port", (0xFF00, "02:00:00:00:00:01", ("10.0.0.1",)), "an OpenFlow port is 1..65279"),
    ("no MAC", (1, "", ("10.0.0.1",)), "'' is not the MAC address of an interface"),
    ("capital letters", (1, "02:00:00:00:00:0A", ("10.0.0.1",)), "is not the MAC address of an interface"),
    ("a multicast MAC", (1, "01:00:5e:00:00:01", ("10.0.0.1",)), "is not the MAC address of an interface"),
    ("no address", (1, "02:00:00:00:00:01", ("10.0.0.1/24",)), "'10.0.0.1/24' is not an IP address"),
    ("the gateway", (1, "02:00:00:00:00:01", ("169.254.1.1",)), "169.254.1.1 is not an address that a Pod can have"),
    ("IPv6 gateway", (1, "02:00:00:00:00:01", ("fe80::1",)), "not an address that a Pod can have"),
    ("multicast", (1, "02:00:00:00:00:01", ("224.0.0.1",)), "not an address that a Pod can have"),
    ("broadcast", (1, "02:00:00:00:00:01", ("255.255.255.255",)), "not an address that a Pod can have"),
    ("loopback", (1, "02:00:00:00:00:01", ("127.0.0.1",)), "not an address that a Pod can have"),
    ("IPv6 loopback", (1, "02:00:00:00:00:01", ("::1",)), "not an address that a Pod can have"),
]


@pytest.mark.parametrize(("said", "why"), [row[1:] for row in BAD_PORTS], ids=[row[0] for row in BAD_PORTS])
def test_a_port_that_no_pod_can_have_is_refused_by_name(said: tuple[Any, ...], why: str):
    with pytest.raises(BadPort, match=f"port {said[0]} of x/a: .*{why}"):
        LocalPort("x/a", Uid("u"), *said)
