"""What runs in a guest to be measured."""

import socket
import time
from typing import NamedTuple

from tests.tc.insidehooks import at, device, generation, hooks, run

from sluice.contracts.groups import Attachment, Member, Page
from sluice.contracts.ids import NEVER, Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, Direction, GroupPeer, Origin, PortRange, Program, Rule, TransportTraffic
from sluice.dataplane.tc.engine import Engine, InterfaceKey
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.text import command
from sluice.drivers.tc import messages
from sluice.services.node_tc.keeper import Device, Keeper

NODE, FAR = NodeName("node-1"), "far"
SELF, PEERS = GroupId("self"), GroupId("peers")
PER_PAGE = 100
CHANGES = 400
"""The clock of processor time in a guest ticks each 10 ms."""


def race(count: int) -> dict[str, float]:
    """Seconds of wall clock to add so many filters: `tc -b` with a file of our commands, and we."""
    plan = generation(count)
    with device() as dev:
        lines = "".join(command(dev, Hook.EGRESS, operation).removeprefix("tc ") + "\n" for operation in plan)
        before = time.perf_counter()
        run("tc", "-b", "-", given=lines)
        theirs = time.perf_counter() - before
    with device() as dev, hooks() as driver:
        before = time.perf_counter()
        done = driver.apply(at(messages.hook(socket.if_nametoindex(dev), Hook.EGRESS), plan))
        ours = time.perf_counter() - before
        before = time.perf_counter()
        reading = driver.read(messages.hook(socket.if_nametoindex(dev), Hook.EGRESS))
        read = time.perf_counter() - before
    assert len(reading.standings) == len(plan) == done.messages
    return {"tc -b": theirs, "ours": ours, "read back": read}


class Change(NamedTuple):
    addresses: int
    filters: int
    """That the interface holds."""

    mean_s: float
    """Of processor time, the kernel's included: from the page of the group to what the kernel holds."""

    messages: int
    """To the kernel, for one change."""

    whole_s: float
    """To build all of it at first."""


def one_address(addresses: int) -> Change:
    """One peer comes or goes, among so many that an interface may talk to on 50 ranges of ports."""
    engine = Engine(NODE)
    ports = tuple(
        TransportTraffic(protocol="TCP", ports=PortRange(first, first + 4)) for first in range(1000, 1500, 10)
    )
    rule = Rule(
        index=0, direction=Direction.INGRESS, action=Action.ALLOW, peers=(GroupPeer(group=PEERS),), traffic=ports
    )
    engine.put_program(
        Program(
            unit=Unit("multinetworkpolicies/x/in"),
            applied_to=SELF,
            cause=NEVER,
            origin=Origin(kind=Kind.MULTI_NETWORK_POLICY, namespace="x", name="in", uid=Uid("in")),
            tier=251,
            priority=0,
            isolates=(Direction.INGRESS,),
            rules=(rule,),
        )
    )
    engine.put_page(Page(group=SELF, node=NODE, cause=NEVER, members=(_member(0),)))
    for first in range(1, addresses, PER_PAGE):
        engine.put_page(_page(range(first, first + PER_PAGE)))
    key = InterfaceKey(Uid("pod-0"), "x/net", "net1")
    sent = set()
    with device() as dev, hooks() as driver:
        where = Device(dev, socket.if_nametoindex(dev))
        keeper = Keeper(driver)
        assert engine.drain()[key].whole
        before = time.perf_counter()
        keeper.make(key, where, engine.contents(key), None)
        whole = time.perf_counter() - before
        pages = [_page(range(1, 1 + PER_PAGE)), _page(range(1, 2 + PER_PAGE))]
        before = time.process_time()
        for turn in range(CHANGES):
            engine.put_page(pages[(turn + 1) % 2])
            change = engine.drain()[key]
            sent.add(keeper.make(key, where, engine.contents(key), None, addresses=change.addresses).messages)
        spent = time.process_time() - before
        held = sum(len(driver.read(messages.hook(where.ifindex, hook)).standings) for hook in Hook)
    (count,) = sent
    return Change(addresses, held, spent / CHANGES, count, whole)


def _page(numbers: range) -> Page:
    members = tuple(sorted(_member(number) for number in numbers if number != 1 + PER_PAGE or numbers.start == 1))
    return Page(group=PEERS, node=NodeName(f"{FAR}-{numbers.start}"), cause=NEVER, members=members)


def _member(number: int) -> Member:
    address = Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    attachment = Attachment(network="x/net", interface="net1", attached=True)
    return Member(pod=f"x/pod-{number}", uid=Uid(f"pod-{number}"), addresses=(address,), attachment=attachment)
