"""A node with as many rules as it is specified for, each with its own precedence, across all tiers.

All have the same direction, and most share a match (one port), which is the hardest case for a switch.
"""

from collections.abc import Iterator

from sluice.contracts import subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import NEVER, Address, GroupId, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, BlockPeer, Direction, PortRange, Program, TransportTraffic
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.ports import LocalPort
from sluice.testkit.worlds import HERE, program, rule

TIERS = (50, 100, 150, 200, 250)
BASELINE = 253
ACTIONS = (Action.ALLOW, Action.DROP, Action.PASS)
WEB = TransportTraffic(protocol="TCP", ports=PortRange(80, 80))


def policy(name: str, number: int, tier: int, priority: float, rules: int = 1) -> Program:
    """A policy for one of the Pods; each rule is about one address of its own."""
    return program(
        subjects.unit(Kind.K8S_NETWORK_POLICY, "x", f"{name}-{number}"),
        GroupId(f"g{number % 100}"),
        *(
            rule(
                index,
                Direction.INGRESS,
                ACTIONS[(number + index) % (3 if tier != BASELINE else 2)],
                (BlockPeer(cidr=f"10.{number // 250}.{number % 250}.{index}/32"),),
                (WEB,),
            )
            for index in range(rules)
        ),
        tier=tier,
        priority=priority,
    )


def policies() -> Iterator[Program]:
    """10,000 policies of 5 rules, each with its own priority, and 150 of the baseline."""
    for number in range(10_000):
        yield policy("p", number, TIERS[number % len(TIERS)], 1 + number, 5)
    for number in range(150):
        yield policy("b", number, BASELINE, number)


def engine(ids: RuleIds, programs: Iterator[Program]) -> Engine:
    """A node with 100 Pods and these programs."""
    made = Engine(HERE, ids)
    for number in range(100):
        pod = Member(pod=f"x/p{number}", uid=Uid(f"u{number}"), addresses=(Address(f"172.16.0.{number + 1}"),))
        made.put_page(Page(group=GroupId(f"g{number}"), node=HERE, cause=NEVER, members=(pod,)))
        made.open_port(LocalPort(pod.pod, pod.uid, number + 1, f"02:00:00:00:00:{number:02x}", pod.addresses))
    for one in programs:
        made.put_program(one)
    return made
