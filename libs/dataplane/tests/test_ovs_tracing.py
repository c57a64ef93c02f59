"""What the switch says of a packet's way, read: the texts are of Open vSwitch 3.1."""

import pytest

from sluice.contracts.ids import Address
from sluice.contracts.tracing import Traced
from sluice.dataplane.ovs.tracing import NotTraceable, Plug, question, read

PACKET = Traced(
    source=Address("10.64.0.2"), destination=Address("10.96.0.10"), protocol="TCP", port=80, source_port=40000
)
WIDE = "eth,tcp,in_port=3,dl_src=0a:58:0a:40:00:02,nw_src=10.64.0.2,nw_dst=%s,nw_ttl=64,tp_src=40000,tp_dst=80"
THROUGH_A_SERVICE = f"""\
Flow: {WIDE % "10.96.0.10"}

bridge("br-int")
----------------
 0. in_port=3, priority 100, cookie 0x51ce020000000003
    goto_table:10
42. tcp,nw_dst=10.96.0.10,tp_dst=80, priority 100, cookie 0x51ce080000000000
    set_field:0x10/0x10->reg0
    group:4
     -> using bucket 0
    bucket 0
            set_field:0x1->reg3
            resubmit(,46)
        46. tcp,reg3=0x1, priority 100, cookie 0x51ce080000000000
            ct(commit,table=47,zone=20942,nat(dst=10.64.16.2:80),exec(set_field:0x2/0x2->ct_mark))
            nat(dst=10.64.16.2:80)
            set_field:0x2/0x2->ct_mark
             -> A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 47.

Final flow: unchanged
Datapath actions: ct(commit,zone=20942,nat(dst=10.64.16.2:80)),recirc(0x9)

Flow: recirc_id=0x9,ct_state=new|trk,{WIDE % "10.64.16.2"}

bridge("br-int")
----------------
    thaw
        Resuming from table 47
47. priority 0, cookie 0x51ce010000000000
    goto_table:48
50. conj_id=7,ip, priority 32501, cookie 0x51ce040000000007
    goto_table:80
80. ip,nw_dst=10.64.16.0/20, priority 87, cookie 0x51ce060000000000
    set_field:192.168.77.11->tun_dst
    goto_table:90
130. priority 0, cookie 0x51ce010000000000
    output:NXM_NX_REG1[]
     -> output port is 2
     -> output to native tunnel
     -> tunneling to 192.168.77.11 via br-phy

bridge("br-phy")
----------------
 0. priority 0
    NORMAL

Final flow: recirc_id=0x9,tun_dst=192.168.77.11,tun_ipv6_dst=::,{WIDE % "10.64.16.2"}
Datapath actions: 1
"""
REJECTED = f"""\
Flow: {WIDE % "10.64.0.3"}

bridge("br-int")
----------------
50. conj_id=1, priority 32501, cookie 0x51ce040000000001
    controller(userdata=01,meter_id=1)

Final flow: unchanged
Datapath actions: drop
"""


def test_a_way_through_a_service_and_the_tunnel():
    way = read(THROUGH_A_SERVICE, PACKET, 3, "br-int")

    assert [(met.table, met.cookie) for met in way.met] == [
        (0, 0x51CE020000000003),
        (42, 0x51CE080000000000),
        (46, 0x51CE080000000000),
        (47, 0x51CE010000000000),
        (50, 0x51CE040000000007),
        (80, 0x51CE060000000000),
        (130, 0x51CE010000000000),
    ]
    assert way.met[2].match == "tcp,reg3=0x1"
    assert way.met[2].actions == (
        "ct(commit,table=47,zone=20942,nat(dst=10.64.16.2:80),exec(set_field:0x2/0x2->ct_mark))",
    )
    assert (way.ports, way.tunnel_ends, way.rejected) == ((2,), ("192.168.77.11",), False)
    assert way.packet == Traced(
        source=Address("10.64.0.2"), destination=Address("10.64.16.2"), protocol="TCP", port=80, source_port=40000
    )


def test_one_that_goes_to_many():
    does = ("output:4", "set_field:fd00::9->tun_ipv6_dst", "output:2", "set_field:192.0.2.3->tun_dst", "output:2")
    said = REJECTED.replace("50. conj_id=1,", "81. ip,nw_dst=225.1.2.3,")
    said = said.replace("    controller(userdata=01,meter_id=1)", "\n".join(f"    {one}" for one in does))
    way = read(said, PACKET, 3, "br-int")

    assert (way.ports, way.tunnel_ends) == ((4, 2, 2), ("fd00::9", "192.0.2.3"))


def test_one_that_is_rejected():
    way = read(REJECTED, PACKET, 3, "br-int")

    assert (way.ports, way.rejected) == ((), True)
    assert way.met[-1].actions == ("controller(userdata=01,meter_id=1)",)


def test_one_that_goes_back_to_where_it_came_from():
    said = REJECTED.replace("50. conj_id=1,", "130. reg0=0x40/0x40,").replace(
        "controller(userdata=01,meter_id=1)", "IN_PORT"
    )

    assert read(said, PACKET, 3, "br-int").ports == (3,)


def test_what_is_no_trace_is_told():
    with pytest.raises(NotTraceable, match="no bridge named br-x"):
        read("no bridge named br-x", PACKET, 3, "br-x")


def test_the_switch_is_asked_in_its_own_words():
    flow, *states = question(Plug(3, "0a:58:0a:40:00:02"), PACKET, "reply", 5)

    assert flow == (
        "ct_mark=0x1,dl_type=0x800,in_port=3,dl_src=0a:58:0a:40:00:02,dl_dst=0a:58:a9:fe:01:01,nw_src=10.64.0.2,"
        "nw_dst=10.96.0.10,nw_proto=6,tcp_src=40000,tcp_dst=80,nw_ttl=64,dp_hash=0x5"
    )
    assert states[:2] == ["--ct-next", "trk,est,rpl"]
    begins, *_ = question(Plug(3, "0a:58:0a:40:00:02"), PACKET, "new", 5)
    assert ",tcp_dst=80,tcp_flags=0x2,nw_ttl" in begins


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (Traced(source=Address("10.0.0.1"), destination=Address("fd00::1"), protocol="TCP"), "different IP versions"),
        (Traced(source=Address("10.0.0.1"), destination=Address("224.0.0.22"), protocol="IGMP"), "handled by node-ovs"),
    ],
)
def test_what_the_switch_cannot_be_asked(packet: Traced, says: str):
    with pytest.raises(NotTraceable, match=says):
        question(Plug(3), packet, "new", 1)
