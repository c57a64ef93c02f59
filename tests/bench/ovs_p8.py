"""P8: 100 rules x 500 addresses, 250 of them shared by all, to flows. The pure part: no switch. CPU time.

As the peer's BenchmarkBatchInstallPolicyRuleFlows: each rule has 250 source addresses of its own and 250 that all have,
and is about two ports of OpenFlow, 1 and one of its own.
"""

import gc
import resource
import statistics

from tests.bench.figures import Figure, Took, Watch, show

from sluice.contracts import subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import NEVER, Address, GroupId, NodeName, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import K8S_TIER, Action, Direction, GroupPeer, Origin, Program, Rule
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.ports import LocalPort

RULES, OWN, COMMON = 100, 250, 250
REPEATS = 7
TO_BEAT_MS, TARGET_MS = 169, 100
HERE, THERE = NodeName("here"), NodeName("there")


def pod(name: str, address: str) -> Member:
    return Member(pod=f"x/{name}", uid=Uid(name), addresses=(Address(address),))


def page(group: str, node: NodeName, *members: Member) -> Page:
    return Page(group=GroupId(group), node=node, cause=NEVER, members=members)


def program(number: int) -> Program:
    unit = subjects.unit(Kind.K8S_NETWORK_POLICY, "x", f"np-{number}")
    peers = (GroupPeer(group=GroupId("common")), GroupPeer(group=GroupId(f"peers-{number}")))
    return Program(
        unit=unit,
        applied_to=GroupId(f"own-{number}"),
        cause=NEVER,
        origin=Origin(kind=Kind.K8S_NETWORK_POLICY, namespace="x", name=f"np-{number}", uid=Uid(unit)),
        tier=K8S_TIER,
        priority=0,
        rules=(Rule(index=0, direction=Direction.INGRESS, action=Action.ALLOW, peers=peers),),
        isolates=(Direction.INGRESS,),
    )


def begin() -> Engine:
    """A node with its ports open and its pages read, before it has a program."""
    engine = Engine(HERE, RuleIds())
    pods = [pod(f"local-{number}", f"10.9.0.{number + 1}") for number in range(RULES + 1)]
    for number, one in enumerate(pods, start=1):
        mac = f"02:00:00:00:00:{number:02x}"
        engine.open_port(LocalPort(one.pod, one.uid, number, mac, one.addresses))
    common = (pod(f"c-{number}", f"10.0.0.{number}") for number in range(1, COMMON + 1))
    engine.put_page(page("common", THERE, *common))
    for rule in range(RULES):
        own = (pod(f"o-{rule}-{number}", f"10.{rule + 1}.0.{number}") for number in range(1, OWN + 1))
        engine.put_page(page(f"own-{rule}", HERE, pods[0], pods[rule + 1]))
        engine.put_page(page(f"peers-{rule}", THERE, *own))
    engine.drain()
    return engine


def measure() -> tuple[Took, int]:
    engine = begin()
    programs = [program(number) for number in range(RULES)]
    gc.collect()
    watch = Watch()
    for one in programs:
        engine.put_program(one)
    put, _ = engine.drain()
    return watch.read(), len(put)


def main() -> None:
    spent = [measure() for _ in range(REPEATS)]
    times = [1_000 * took.cpu_s for took, _ in spent]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show(
        Figure(
            "P8",
            f"{RULES} rules x {OWN + COMMON} addresses to flows",
            min(times),
            "ms",
            TO_BEAT_MS,
            TARGET_MS,
            min(times),
        ),
        f"best of {REPEATS}, median {statistics.median(times):.0f} ms; {spent[0][1]:,} flows; "
        f"peak of the process {peak_mb:.0f} MB",
    )


if __name__ == "__main__":
    main()
