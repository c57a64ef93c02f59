"""P19, its pure part: one address comes to a policed interface and goes, among 100, 1,000 and 10,000. No kernel."""

import gc
import statistics
import time
from collections.abc import Sequence

from tests.bench.figures import Figure, show

from sluice.contracts import subjects
from sluice.contracts.groups import Attachment, Member, Page
from sluice.contracts.ids import NEVER, Address, GroupId, NodeName, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    Direction,
    GroupPeer,
    Origin,
    PortRange,
    Program,
    Rule,
    TransportTraffic,
)
from sluice.dataplane.tc.engine import Engine, InterfaceKey
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.operations import Operation
from sluice.dataplane.tc.plan import patch, plan

SIZES = (100, 1_000, 10_000)
ROUNDS = 200
HERE, THERE, YONDER = NodeName("here"), NodeName("there"), NodeName("yonder")
OWN, PEERS = GroupId("own"), GroupId("peers")
KEY = InterfaceKey(Uid("a"), "x/net", "net1")


def member(name: str, address: str) -> Member:
    attachment = Attachment(network="x/net", interface="net1", attached=True)
    return Member(pod=f"x/{name}", uid=Uid(name), addresses=(Address(address),), attachment=attachment)


def page(group: GroupId, node: NodeName, members: Sequence[Member]) -> Page:
    return Page(group=group, node=node, cause=NEVER, members=tuple(members))


def program() -> Program:
    unit = subjects.unit(Kind.MULTI_NETWORK_POLICY, "x", "np")
    ports = tuple(
        TransportTraffic(protocol="TCP", ports=PortRange(1_000 * number, 1_000 * number + 500))
        for number in range(1, 51)
    )
    peers = (GroupPeer(group=PEERS),)
    return Program(
        unit=unit,
        applied_to=OWN,
        cause=NEVER,
        origin=Origin(kind=Kind.MULTI_NETWORK_POLICY, namespace="x", name="np", uid=Uid(unit)),
        tier=K8S_TIER,
        priority=0,
        rules=(Rule(index=0, direction=Direction.EGRESS, action=Action.ALLOW, peers=peers, traffic=ports),),
        isolates=(Direction.EGRESS,),
    )


def measure(size: int) -> None:
    engine = Engine(HERE)
    engine.put_page(page(OWN, HERE, [member("a", "10.9.9.9")]))
    everybody = [member(f"p{n}", f"10.0.{n >> 8}.{n & 255}") for n in range(size)]
    engine.put_page(page(PEERS, THERE, everybody))
    engine.put_program(program())
    mirrors = {hook: Mirror() for hook in Hook}
    for hook, operation in plan(engine.contents(KEY), mirrors, 1):
        mirrors[hook].apply((operation,))
    engine.drain()
    held = len(mirrors[Hook.INGRESS].filters)
    gc.collect()
    spent: list[float] = []
    messages: set[int] = set()
    for number in range(ROUNDS):
        begun = time.process_time()
        if number % 2:
            engine.drop_page(PEERS, YONDER)
        else:
            engine.put_page(page(PEERS, YONDER, [member("q", "10.8.0.1")]))
        made: list[Operation] = []
        for hook, addresses in engine.drain()[KEY].addresses.items():
            found = patch(engine.contents(KEY)[hook], addresses, mirrors[hook], hook)
            assert found is not None
            mirrors[hook].apply(found)
            made += found
        spent.append(time.process_time() - begun)
        messages.add(len(made))
    took_us = statistics.median(spent) * 1e6
    said = " or ".join(map(str, sorted(messages)))
    show(Figure("P19", f"one address of {size:,} comes or goes, in CPU time", took_us, "us"))
    show(Figure("P19", f"messages for it, where {held:,} filters stand: {said}; at most", max(messages), "messages"))


if __name__ == "__main__":
    for each in SIZES:
        measure(each)
