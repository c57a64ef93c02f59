"""The driver on a real switch: what is put is there, all at once or not at all, and what goes wrong has a name."""

import asyncio
import os
import signal

import pytest
import uvloop

from sluice.dataplane.ovs.fields import CtState, Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Conjunction,
    Controller,
    Ct,
    DecTtl,
    FlowBody,
    FlowKey,
    Goto,
    Group,
    Learn,
    MoveField,
    Nat,
    Output,
    OutputField,
    Resubmit,
    SetField,
    Term,
    match,
)
from sluice.dataplane.protocols import EthType, IpProto
from sluice.drivers.openflow import connection
from sluice.drivers.openflow.counts import Counted, decode_counts
from sluice.drivers.openflow.errors import BundleRefused, RequestRefused, SwitchGone, VersionRefused
from sluice.drivers.openflow.headers import NotEncodable, Port
from sluice.drivers.openflow.meters import Meter
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.switch import Switch, UnreadableFlows
from sluice.drivers.ovsdb.client import Ovsdb

pytestmark = pytest.mark.datapath

COOKIE = 0x51CE << 48
OWNER = 0xFFFF << 48
IPV4 = (Field.ETH_TYPE, EthType.IPV4)
CONJUNCTION = (Conjunction(7, 1, 2),)


def key(table=60, priority=200, *terms):
    return FlowKey(table, priority, match(*terms))


def drop(cookie=COOKIE):
    return FlowBody((), cookie)


def sources(count, actions=CONJUNCTION):
    """Flows that differ in the address they match."""
    return {key(60, 200, IPV4, (Field.IPV4_SRC, 0x0A000000 + n)): FlowBody(actions, COOKIE | n) for n in range(count)}


# ------------------------------------------------------------------------------------------------------ there and back


async def test_every_field_comes_back_as_it_was_sent(switch, sample):
    flows = {FlowKey(10, 100, match(*sample)): drop()}

    await switch.apply(flows)

    assert await switch.dump() == flows


ACTIONS: dict[str, Actions] = {
    "drop": (),
    "output": (Output(7),),
    "back where it came from": (Output(Port.IN_PORT),),
    "local": (Output(Port.LOCAL),),
    "the port in a register": (OutputField(Field.REG1),),
    "set a register": (SetField(Field.REG1, 7),),
    "set bits of a register": (SetField(Field.REG0, 2, 6),),
    "set both halves of a pair": (SetField(Field.REG0, 1), SetField(Field.REG1, 2)),
    "set a register to all ones": (SetField(Field.REG0, 0xFFFFFFFF, 0xFFFFFFFF),),
    "set addresses": (SetField(Field.ETH_DST, 0x020000000001), SetField(Field.ETH_SRC, 0x0A5800000001)),
    "set an address of the packet": (SetField(Field.IPV4_DST, 0x0A000001),),
    "set the tunnel": (SetField(Field.TUN_ID, 100), SetField(Field.TUN_DST, 0xC0000201)),
    "copy": (MoveField(Field.IPV4_SRC, Field.REG2, 16, 16, 0),),
    "dec_ttl": (DecTtl(),),
    "conjunctions": (Conjunction(9, 2, 3), Conjunction(8, 1, 2), Conjunction(0xFFFFFFFF, 64, 64)),
    "track": (Ct(0xFFF0, table=40),),
    "commit": (Ct(5, commit=True),),
    "commit with marks": (
        Ct(
            5,
            commit=True,
            table=120,
            exec=(
                SetField(Field.CT_MARK, 1, 0xF),
                MoveField(Field.REG5, Field.CT_LABEL, 32),
                MoveField(Field.REG6, Field.CT_LABEL, 32, 0, 32),
                SetField(Field.CT_LABEL, 5 << 64, 0xFF << 64),
            ),
        ),
    ),
    "track and translate": (Ct(5, table=70, nat=Nat()),),
    "translate the destination": (Ct(5, commit=True, table=70, nat=Nat("dst", 4, 0x0A000001, 80)),),
    "translate the source": (Ct(5, commit=True, exec=(SetField(Field.CT_MARK, 2, 2),), nat=Nat("src", 4, 0x0A000001)),),
    "resubmit": (Resubmit(30), Resubmit(40)),
    "goto": (Goto(70),),
    "set and goto": (SetField(Field.REG5, 0xFFFFFFFF), Goto(70)),
    "controller": (Controller(),),
    "controller that says something": (Controller(b"\x02", pause=True), Resubmit(50)),
    "a controller of many": (Controller(b"\x02", controller_id=2), Controller(controller_id=3)),
    "controller that says much": (Controller(bytes(range(40)), max_len=128),),
    "many": (SetField(Field.REG1, 7), DecTtl(), Resubmit(5), Output(1), Controller(b"x"), Ct(1, table=3), Goto(254)),
}


def canonical(actions):
    """A whole mask says nothing."""
    whole = (SetField(Field.REG0, 0xFFFFFFFF),)
    return whole if actions == ACTIONS["set a register to all ones"] else actions


@pytest.mark.parametrize("name", ACTIONS)
async def test_every_action_comes_back_as_it_was_sent(switch, name):
    where = key(60, 100, IPV4)

    await switch.apply({where: FlowBody(ACTIONS[name], COOKIE)})

    assert await switch.dump() == {where: FlowBody(canonical(ACTIONS[name]), COOKIE)}


async def test_a_controller_with_a_meter(switch):
    await switch.set_meter(Meter(3, packets_per_second=10, burst=5))
    flows = {key(): FlowBody((Controller(b"m", meter_id=3),), COOKIE)}

    await switch.apply(flows)

    assert await switch.dump() == flows


async def test_ovs_ofctl_reads_what_we_wrote(switch, ofctl):
    new = CtState.NEW | CtState.TRK
    await switch.apply(
        {
            key(0, 100, (Field.IN_PORT, 3)): FlowBody((SetField(Field.REG0, 2, 6), Goto(10)), 1),
            key(60, 200, IPV4, (Field.IPV4_SRC, 0x0A000000, 0xFF000000), (Field.CT_STATE, new, new)): FlowBody(
                (Conjunction(9, 1, 2),), 2
            ),
            key(60, 200, (Field.CONJ_ID, 9)): FlowBody((SetField(Field.REG5, 9), Goto(70)), 3),
            key(120, 1, IPV4): FlowBody(
                (Ct(5, commit=True, table=130, exec=(MoveField(Field.REG5, Field.CT_LABEL, 32, 0, 32),)),), 4
            ),
            key(
                100, 7, (Field.ETH_TYPE, EthType.IPV6), (Field.IP_PROTO, IpProto.TCP), (Field.TCP_DST, 0x1F40, 0xFFF8)
            ): FlowBody((OutputField(Field.REG1),), 5),
        }
    )

    printed = ofctl("dump-flows", "--no-stats")

    assert sorted(line.strip() for line in printed if "cookie" in line) == [
        "cookie=0x1, priority=100,in_port=3 actions=set_field:0x2/0x6->reg0,goto_table:10",
        "cookie=0x2, table=60, priority=200,ct_state=+new+trk,ip,nw_src=10.0.0.0/8 actions=conjunction(9,1/2)",
        "cookie=0x3, table=60, priority=200,conj_id=9 actions=set_field:0x9->reg5,goto_table:70",
        "cookie=0x4, table=120, priority=1,ip actions=ct(commit,table=130,zone=5,exec(move:NXM_NX_REG5[]->NXM_NX_CT_LABEL[32..63]))",  # noqa: E501  # as ovs-ofctl has it
        "cookie=0x5, table=100, priority=7,tcp6,tp_dst=0x1f40/0xfff8 actions=output:NXM_NX_REG1[]",
    ]


async def test_only_the_flows_of_an_owner_are_asked_for(switch, ofctl):
    ours = sources(3)
    await switch.apply({**ours, key(9, 9): drop(cookie=5)})
    ofctl("add-flow", "table=1,actions=NORMAL")

    assert await switch.dump(COOKIE, OWNER) == ours


# -------------------------------------------------------------------------------------------------------- in one step


async def test_a_bundle_puts_replaces_and_deletes(switch):
    before = sources(10)
    await switch.apply(before)
    gone, changed = list(before)[:3], list(before)[3:5]
    put = {**dict.fromkeys(changed, drop()), key(1, 1): drop()}

    await switch.apply(put, gone)

    left = {one: body for one, body in before.items() if one not in gone}
    assert await switch.dump() == {**left, **put}


async def test_what_is_both_deleted_and_put_is_there(switch):
    await switch.apply({key(): drop()})

    await switch.apply({key(): FlowBody((Output(1),), COOKIE)}, [key()])

    assert await switch.dump() == {key(): FlowBody((Output(1),), COOKIE)}


async def test_a_replaced_flow_keeps_its_counters(switch, ofctl):
    await switch.apply({key(0, 1): drop()})
    switch.send_packet(bytes(60), (Output(0xFFFFFFF9),))  # OFPP_TABLE: through the flows
    await switch.barrier()

    await switch.apply({key(0, 1): FlowBody((Output(1),), COOKIE)})

    (line,) = [line for line in ofctl("dump-flows") if "actions" in line]
    assert "n_packets=1" in line


async def test_flows_say_what_they_counted(switch):
    begins, again = key(0, 200, (Field.ETH_TYPE, 0x0800)), key(0, 100)
    await switch.apply({begins: drop(COOKIE | 7), again: drop(COOKIE | 7), key(1, 100): drop(COOKIE | 7)})
    for _ in range(3):
        switch.send_packet(bytes(60), (Output(0xFFFFFFF9),))  # OFPP_TABLE: through the flows
    await switch.barrier()

    mine = await switch.counted(0, COOKIE | 7, (1 << 64) - 1)
    assert sorted(mine) == [Counted(100, COOKIE | 7, 3, 180), Counted(200, COOKIE | 7, 0, 0)]
    assert await switch.counted(0, COOKIE | 8, (1 << 64) - 1) == []
    assert sorted(await switch.counted(0, COOKIE, OWNER)) == sorted(mine)


@pytest.mark.parametrize("part", [bytes(3), bytes(40), b"\x00\x20" + bytes(20)])
def test_counts_that_are_cut_short_are_told(part):
    with pytest.raises(Undecodable):
        list(decode_counts(part))


async def test_deleting_what_is_not_there_is_no_error(switch):
    await switch.apply({}, [key()])

    assert await switch.dump() == {}


async def test_nothing_to_do_is_nothing_sent(switch):
    switch.close()

    await switch.apply({})


REFUSED = {
    "at its add: a prerequisite is missing": (
        key(60, 300, (Field.IPV4_SRC, 1)),
        drop(),
        "OFPBMC_BAD_PREREQ",
        r"add table=60,priority=300,nw_src=0.0.0.1: OFPBMC_BAD_PREREQ \(a field is matched without",
    ),
    "at its add: conjunction beside an action": (
        key(60, 300),
        FlowBody((Conjunction(1, 1, 2), Output(1)), 0),
        "NXBAC_BAD_CONJUNCTION",
        r"add table=60,priority=300: NXBAC_BAD_CONJUNCTION \(",
    ),
    "at its add: goto goes backwards": (key(60, 300), FlowBody((Goto(3),), 0), "OFPBIC_BAD_TABLE_ID", "goes backwards"),
    "at its add: tracking what has no connections": (
        key(60, 300),
        FlowBody((Ct(1, table=70),), 0),
        "OFPBAC_MATCH_INCONSISTENT",
        "add table=60,priority=300: OFPBAC_MATCH_INCONSISTENT",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_one_bad_flow_and_nothing_is_applied(switch, name):
    where, body, error, said = REFUSED[name]
    before = sources(5)
    await switch.apply(before)

    with pytest.raises(BundleRefused, match=said) as caught:
        await switch.apply({**sources(2_000, ()), where: body}, list(before))

    assert [refusal.error.name for refusal in caught.value.refusals] == [error]
    assert await switch.dump() == before
    await switch.apply({}, list(before))  # the connection is as good as new
    assert await switch.dump() == {}


async def test_a_bundle_that_fails_at_its_commit_is_not_half_applied(switch, ovsdb, bridge):
    limit = {"op": "insert", "table": "Flow_Table", "row": {"flow_limit": 100}, "uuid-name": "limit"}
    where = [["name", "==", bridge]]
    tables = {"flow_tables": ["map", [[60, ["named-uuid", "limit"]]]]}
    await ovsdb.change(limit, {"op": "update", "table": "Bridge", "where": where, "row": tables})
    await switch.apply(sources(50))

    with pytest.raises(BundleRefused, match=r"add table=60,priority=200,ip,nw_src=10\.0\.0\.100: OFPFMFC_TABLE_FULL"):
        await switch.apply({**sources(300), key(1, 1): drop()}, [next(iter(sources(1)))])

    assert await switch.dump() == sources(50)
    await switch.apply({}, list(sources(50)))
    assert await switch.dump() == {}


async def test_a_bad_deletion_names_itself(switch):
    with pytest.raises(BundleRefused, match=r"delete table=60,priority=300,nw_src=0\.0\.0\.1: OFPBMC_BAD_PREREQ"):
        await switch.apply({key(): drop()}, [key(60, 300, (Field.IPV4_SRC, 1))])

    assert await switch.dump() == {}


async def test_many_bad_flows_are_told_in_short(switch):
    bad = {key(60, priority, (Field.IPV4_SRC, 1)): drop() for priority in range(5_000)}

    with pytest.raises(BundleRefused, match=r"bundle of 5000 changes.*; and \d+ more$") as caught:
        await switch.apply(bad)

    assert len(str(caught.value)) < 1_000
    assert await switch.dump() == {}


async def test_what_cannot_be_encoded_is_not_half_applied(switch):
    flows = {**sources(2_000), key(1, 1): FlowBody((Goto(9), Output(1)), 0)}

    with pytest.raises(NotEncodable, match="table=1,priority=1"):
        await switch.apply(flows)

    await switch.apply({key(): drop()})
    assert await switch.dump() == {key(): drop()}


async def test_a_cancelled_bundle_is_applied_whole_or_not_at_all(switch):
    applying = asyncio.create_task(switch.apply(sources(20_000)))
    await asyncio.sleep(0.02)  # wherever it is by then

    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying

    assert len(await switch.dump()) in {0, 20_000}
    await switch.apply({key(): drop()})
    assert key() in await switch.dump()


async def test_every_register_is_read_back(switch):
    registers = [field for field in Field if field.spec.name.startswith("reg")]
    flows = {key(60, 1, (field, number)): drop() for number, field in enumerate(registers, start=1)}

    await switch.apply(flows)

    assert len(flows) == 16
    assert await switch.dump() == flows


async def test_bundles_at_the_same_time_wait_for_each_other(switch):
    parts = [{key(60, priority, IPV4, (Field.IPV4_SRC, n)): drop() for n in range(500)} for priority in range(8)]

    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(switch.apply(part))

    assert await switch.dump() == {one: body for part in parts for one, body in part.items()}


async def test_twenty_thousand_flows_are_there_as_they_were_sent(switch):
    pods = {
        key(100, 210, IPV4, (Field.IP_PROTO, IpProto.TCP), (Field.TCP_DST, 1 + n % 60_000), (Field.REG1, n % 50)): (
            FlowBody((SetField(Field.REG6, n % 900), Goto(120)), COOKIE | n)
        )
        for n in range(10_000)
    }
    flows = {**sources(10_000), **pods}

    await switch.apply(flows)
    assert await switch.dump() == flows

    await switch.apply({}, list(flows))
    assert await switch.dump() == {}


# ----------------------------------------------------------------------------------------------------------- strangers

STRANGE = {
    "an action we never send": "table=3,priority=5,cookie=0x51ce000000000000,ip,actions=push_mpls:0x8847,output:1",
    "a field we never match": "table=3,priority=5,cookie=0x51ce000000000000,metadata=7,actions=drop",
    "a timeout": "table=3,priority=5,cookie=0x51ce000000000000,ip,hard_timeout=600,actions=drop",
}


@pytest.mark.parametrize("name", STRANGE)
async def test_a_flow_that_we_cannot_have_sent_is_told_and_can_be_deleted(switch, ofctl, name):
    await switch.apply(sources(3))
    ofctl("add-flow", STRANGE[name])

    with pytest.raises(UnreadableFlows, match="in table 3 at priority 5: ") as caught:
        await switch.dump(COOKIE, OWNER)
    assert caught.value.flows == sources(3)

    await switch.apply({key(3, 5, IPV4): drop()}, strangers=caught.value.strangers)
    assert await switch.dump() == {**sources(3), key(3, 5, IPV4): drop()}


# --------------------------------------------------------------------------------------------------------------- meters


async def test_a_meter_is_set_again(switch, ofctl):
    await switch.set_meter(Meter(7, packets_per_second=10, burst=5))
    await switch.set_meter(Meter(7, packets_per_second=20, burst=5))
    assert any("rate=20 burst_size=5" in line for line in ofctl("dump-meters"))


async def test_a_meter_says_what_it_counted(switch):
    await switch.set_meter(Meter(7, packets_per_second=1, burst=5))

    assert await switch.metered(7) == (0, 0)  # tests/e2e/test_reject.py sends packets
    with pytest.raises(RequestRefused):
        await switch.metered(8)


async def test_a_meter_that_cannot_be_is_refused(switch):
    with pytest.raises(RequestRefused, match="METER_MOD: the switch refused: OFPMMFC_INVALID_METER"):
        await switch.set_meter(Meter(0, packets_per_second=10, burst=5))


IPV6_NAT = (
    Ct(5, commit=True, table=70, nat=Nat("dst", 6, 0xFD000000000000000000000000000001, 80)),
    Ct(5, commit=True, table=70, nat=Nat("src", 6, 0xFD000000000000000000000000000001)),
)


async def test_addresses_of_both_versions_are_translated(switch):
    tcp, tcp6 = ((Term(Field.ETH_TYPE, ip), Term(Field.IP_PROTO, IpProto.TCP)) for ip in (EthType.IPV4, EthType.IPV6))
    learn = Learn(
        *(70, 100, 300, COOKIE | 1),
        (Term(Field.ETH_TYPE, EthType.IPV6), Term(Field.IP_PROTO, IpProto.UDP)),
        (Field.IPV6_SRC, Field.IPV6_DST, Field.UDP_DST),
        (Field.REG3,),
    )
    sctp = Learn(
        *(70, 100, 65535, COOKIE | 1),
        (Term(Field.ETH_TYPE, EthType.IPV6), Term(Field.IP_PROTO, IpProto.SCTP)),
        (Field.SCTP_DST,),
        (Field.REG3,),
    )
    udp6 = (Term(Field.ETH_TYPE, EthType.IPV6), Term(Field.IP_PROTO, IpProto.UDP))
    sctp6 = (Term(Field.ETH_TYPE, EthType.IPV6), Term(Field.IP_PROTO, IpProto.SCTP))
    learn4 = Learn(70, 100, 300, COOKIE | 1, tcp, (Field.IPV4_SRC, Field.IPV4_DST, Field.TCP_DST), (Field.REG3,))
    flows = {FlowKey(60, number, match(*tcp6)): FlowBody((does,), COOKIE) for number, does in enumerate(IPV6_NAT)}
    flows |= {
        FlowKey(60, 9, match(*tcp)): FlowBody((learn4,), COOKIE),
        FlowKey(60, 10, match(*udp6)): FlowBody((learn,), COOKIE),
        FlowKey(60, 11, match(*sctp6)): FlowBody((sctp,), COOKIE),
    }

    await switch.apply(flows)

    assert await switch.dump() == flows


async def test_groups_change_in_one_step_with_the_flows_that_name_them(switch):
    here, one, two = FlowKey(60, 1, ()), ((SetField(Field.REG3, 1), Resubmit(70)),), ((SetField(Field.REG3, 2),),)
    flows = {here: FlowBody((Group(8),), COOKIE)}
    await switch.apply(flows, groups={8: one, 9: two})
    assert (await switch.dump(), await switch.dump_groups()) == (flows, {8: one, 9: two})

    with pytest.raises(BundleRefused, match="group 10"):
        await switch.apply({here: FlowBody((Group(9),), COOKIE)}, groups={8: two, 10: ((Output(0xFFFFFFFF),),)})
    assert (await switch.dump(), await switch.dump_groups()) == (flows, {8: one, 9: two})

    await switch.apply({here: FlowBody((Group(9),), COOKIE)}, groups={9: (*one, *two)}, delete_groups=[8])
    assert await switch.dump_groups() == {9: (*one, *two)}
    await switch.apply({}, [here], delete_groups=[9])
    assert (await switch.dump(), await switch.dump_groups()) == ({}, {})


# -------------------------------------------------------------------------------------------------------------- packets

ETHERNET = bytes.fromhex("02000000000202000000000188b5") + bytes(46)
"""A packet of a type that is for experiments."""

TO_THE_TABLES = (Output(0xFFFFFFF9),)


async def next_packet(switch):
    async with asyncio.timeout(60):
        return await switch.packets.get()


async def test_a_packet_is_handed_over(switch):
    await switch.hear_packets()
    await switch.apply({key(0, 1): FlowBody((SetField(Field.REG3, 9), Controller(b"hello")), COOKIE | 5)})

    switch.send_packet(ETHERNET, TO_THE_TABLES, in_port=Port.LOCAL)

    packet = await next_packet(switch)
    assert (packet.packet, packet.userdata, packet.cookie, packet.table) == (ETHERNET, b"hello", COOKIE | 5, 0)
    assert not packet.held
    assert {Term(Field.IN_PORT, Port.LOCAL), Term(Field.REG3, 9)} <= set(packet.metadata)


async def test_a_packet_is_handed_to_the_controller_that_it_is_for(switch, node, bridge):
    other = await Switch.connect(node.mgmt_socket(bridge))
    try:
        await switch.hear_packets()
        await other.hear_packets(controller_id=2)
        await switch.apply({key(0, 1): FlowBody((Controller(b"two", controller_id=2), Controller(b"one")), COOKIE)})

        switch.send_packet(ETHERNET, TO_THE_TABLES, in_port=Port.LOCAL)

        assert (await next_packet(switch)).userdata == b"one"
        assert (await next_packet(other)).userdata == b"two"
        assert (switch.packets.empty(), other.packets.empty()) == (True, True)
    finally:
        other.close()


async def test_a_held_packet_goes_on_with_its_registers(switch):
    await switch.hear_packets()
    await switch.apply(
        {
            key(0, 1): FlowBody((SetField(Field.REG3, 9), Controller(b"hold", pause=True), Resubmit(5)), COOKIE),
            key(5, 1, (Field.REG3, 9)): FlowBody((Controller(b"and on"),), COOKIE),
        }
    )
    switch.send_packet(ETHERNET, TO_THE_TABLES)
    held = await next_packet(switch)
    assert (held.held, held.userdata) == (True, b"hold")
    await switch.barrier()
    assert switch.packets.empty()

    switch.resume(held)

    assert (await next_packet(switch)).userdata == b"and on"
    assert switch.errors == ()


async def test_a_packet_out_that_is_refused_is_not_lost_silently(switch):
    switch.send_packet(ETHERNET, (Resubmit(3), Output(0x12345678)))
    await switch.barrier()

    assert [error.name for error in switch.errors] == ["OFPBAC_BAD_OUT_PORT"]


# ----------------------------------------------------------------------------------------------- when things go wrong


async def test_closed_tells_when_the_switch_is_killed(node, switch):
    await node.kill_vswitchd()

    async with asyncio.timeout(60):
        assert "closed" in await switch.closed or "lost" in await switch.closed
    with pytest.raises(SwitchGone):
        await switch.dump()
    with pytest.raises(SwitchGone):
        await switch.apply({key(): drop()})


async def test_who_waits_for_a_killed_switch_is_told(node, switch):
    applying = asyncio.create_task(switch.apply(sources(50_000)))
    await asyncio.sleep(0.05)
    assert not applying.done()

    await node.kill_vswitchd()

    async with asyncio.timeout(60):
        with pytest.raises(SwitchGone, match=r"\.mgmt: "):
            await applying


async def test_a_switch_that_starts_again_has_no_flows(node, bridge, switch):
    await switch.apply(sources(10))
    await node.kill_vswitchd()
    await node.start_vswitchd()

    again = await Switch.connect(node.mgmt_socket(bridge))

    assert await again.dump() == {}
    await again.apply(sources(10))
    assert await again.dump() == sources(10)
    again.close()


async def test_a_switch_that_hangs_is_taken_for_dead(node, bridge, monkeypatch):
    monkeypatch.setattr(connection, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(connection, "PATIENCE_S", 0.5)
    switch = await Switch.connect(node.mgmt_socket(bridge))
    await asyncio.sleep(1)
    assert not switch.closed.done()  # it answers echoes

    os.kill(node.vswitchd_pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            assert "nothing heard" in await switch.closed
    finally:
        os.kill(node.vswitchd_pid, signal.SIGCONT)


async def test_a_bundle_that_takes_too_long_ends_the_connection(node, switch):
    os.kill(node.vswitchd_pid, signal.SIGSTOP)
    try:
        with pytest.raises(SwitchGone, match=r"bundle of 10 changes took longer than 0\.2 s: read back"):
            await switch.apply(sources(10), timeout_s=0.2)
    finally:
        os.kill(node.vswitchd_pid, signal.SIGCONT)

    assert switch.closed.done()


async def test_a_bridge_without_openflow_15_says_what_to_do(node, ovsdb):
    await ovsdb.ensure_bridge("br-old", protocols=("OpenFlow10", "OpenFlow13"))
    try:
        with pytest.raises(VersionRefused, match=r"speaks OpenFlow 1\.0, 1\.3 and we speak 1\.5: ovs-vsctl"):
            await Switch.connect(node.mgmt_socket("br-old"))
    finally:
        await ovsdb.delete_bridge("br-old")


def test_it_runs_under_uvloop(node):
    async def there_and_back():
        await node.ensure_bridge("br-uv")
        switch = await Switch.connect(node.mgmt_socket("br-uv"))
        await switch.apply(sources(3_000))
        found = await switch.dump()
        switch.close()
        ovsdb = await Ovsdb.connect(node.db_socket)
        await ovsdb.delete_bridge("br-uv")
        ovsdb.close()
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(there_and_back()) == sources(3_000)


async def test_no_bridge_is_no_connection(node):
    with pytest.raises(OSError, match="No such file"):
        await Switch.connect(node.mgmt_socket("br-none"))


async def test_who_is_told_late_hears_it_all_the_same(switch):
    switch.close()

    assert await switch.closed == "closed by us"
    with pytest.raises(SwitchGone, match="closed by us"):
        await switch.barrier()
