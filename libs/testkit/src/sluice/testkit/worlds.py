"""Small worlds of one node's OVS inputs: few Pods, addresses, groups and ports, so that everything interacts.

`meaning` says what policy means in them.
"""

from hypothesis import strategies as st

from sluice.contracts import subjects
from sluice.contracts.groups import Member, NamedPort, Page
from sluice.contracts.ids import NEVER, Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    Origin,
    Peer,
    PortRange,
    Program,
    Rule,
    Traffic,
    TransportTraffic,
)
from sluice.dataplane.ovs.fqdn import NODE, Fact
from sluice.dataplane.ovs.fqdn_values import Opens
from sluice.dataplane.ovs.lower import Inputs
from sluice.dataplane.ovs.ports import LocalPort
from sluice.policy.everypod import EVERY_POD_ID

HERE = NodeName("n1")
NODES = (HERE, NodeName("n2"))
PODS = ("x/a", "x/b", "x/c", "y/a", "y/b")
GROUPS = tuple(map(GroupId, ("g1", "g2", "g3", "g4")))
UNITS = tuple(subjects.unit(Kind.K8S_NETWORK_POLICY, "x", name) for name in ("p1", "p2", "p3"))
TIER_UNITS = tuple(
    subjects.unit(Kind.K8S_NETWORK_POLICY, namespace, name)
    for namespace, name in (("", "t"), ("x", "t"), ("x-1", "t"), ("x", "t-1"))
)
"""Their kind only affects flows through its place in the order."""

TIERS = (50, 250, 253)
"""Two before Kubernetes policies, and the baseline."""

BLOCKS = (
    BlockPeer(cidr="0.0.0.0/0"),
    BlockPeer(cidr="10.0.0.0/29", excepts=("10.0.0.2/32",)),
    BlockPeer(cidr="10.0.0.0/30"),
    BlockPeer(cidr="10.0.0.2/31", excepts=("10.0.0.3/32",)),
    BlockPeer(cidr="10.0.0.1/32"),
    BlockPeer(cidr="::/0", excepts=("fd00::2/127",)),
    BlockPeer(cidr="fd00::/126"),
)
PATTERNS = ("a.com", "*.a.com")
PORTS: tuple[int, ...] = (79, 80, 81, 82, 83, 443)


def uid(pod: str) -> Uid:
    return Uid(f"uid-{pod}")


def addresses(pod: str) -> tuple[Address, ...]:
    """The Pod's own addresses, one per IP version; no two Pods share one."""
    number = PODS.index(pod) + 1
    return Address(f"10.0.0.{number}"), Address(f"fd00::{number}")


def member(pod: str, named: int = 80) -> Member:
    ports = (NamedPort(name="web", protocol="TCP", port=named), NamedPort(name="web", protocol="UDP", port=81))
    return Member(pod=pod, uid=uid(pod), addresses=addresses(pod), ports=ports)


def page(group: GroupId, node: NodeName, *members: Member) -> Page:
    return Page(group=group, node=node, cause=NEVER, members=tuple(sorted(members)))


def port(pod: str) -> LocalPort:
    number = PODS.index(pod) + 1
    return LocalPort(pod, uid(pod), 10 + number, f"02:00:00:00:00:{number:02x}", addresses(pod))


def program(
    unit: Unit,
    applied_to: GroupId,
    *rules: Rule,
    isolates: tuple[Direction, ...] = (),
    tier: int = K8S_TIER,
    priority: float = 0,
    logs_isolation: bool = False,
) -> Program:
    kind, namespace, name = subjects.unit_parts(unit)
    origin = Origin(kind=kind, namespace=namespace, name=name, uid=Uid(unit))
    return Program(
        unit=unit,
        applied_to=applied_to,
        cause=NEVER,
        origin=origin,
        tier=tier,
        priority=priority,
        rules=rules,
        isolates=isolates,
        logs_isolation=logs_isolation,
    )


def allow(
    index: int,
    direction: Direction,
    peers: tuple[Peer, ...] | None = None,
    traffic: tuple[Traffic, ...] | None = None,
    *,
    logs: bool = False,
) -> Rule:
    return rule(index, direction, Action.ALLOW, peers, traffic, logs=logs)


def rule(
    index: int,
    direction: Direction,
    action: Action,
    peers: tuple[Peer, ...] | None = None,
    traffic: tuple[Traffic, ...] | None = None,
    *,
    logs: bool = False,
) -> Rule:
    return Rule(index=index, direction=direction, action=action, peers=peers, traffic=traffic, logs=logs)


members = st.builds(member, st.sampled_from(PODS), st.sampled_from((80, 82)))
pages = st.builds(
    lambda group, node, found: page(group, node, *{one.uid: one for one in found}.values()),
    st.sampled_from((*GROUPS, EVERY_POD_ID)),
    st.sampled_from(NODES),
    st.lists(members, min_size=1, max_size=4),
)
_ranges = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(lambda ends: PortRange(min(ends), max(ends)))
_transports = st.builds(
    TransportTraffic,
    protocol=st.sampled_from(("TCP", "TCP", "UDP")),
    ports=st.none() | _ranges | st.just("web"),
    source_ports=st.none() | st.none() | st.just(PortRange(1024, 2047)),
)
traffics: st.SearchStrategy[Traffic] = _transports | st.builds(IcmpTraffic, icmp_type=st.sampled_from((None, 8, 128)))
peers: st.SearchStrategy[Peer] = st.builds(GroupPeer, group=st.sampled_from(GROUPS)) | st.sampled_from(BLOCKS)
egress_peers = peers | st.builds(FqdnPeer, pattern=st.sampled_from(PATTERNS))
facts = st.builds(
    Fact,
    st.sampled_from(PATTERNS),
    st.sampled_from([address for pod in PODS[:3] for address in addresses(pod)]),
    st.sampled_from([NODE, *map(uid, PODS)]),
)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """The program of a Kubernetes policy; a few have a rule that cannot be lowered."""
    rules = []
    logs = draw(st.booleans())
    for direction in Direction:
        for index in range(draw(st.integers(0, 2))):
            some_peers = draw(st.none() | st.lists(peers, max_size=3).map(tuple))
            some_traffic = draw(st.none() | st.lists(traffics, max_size=2).map(tuple))
            rules.append(allow(index, direction, some_peers, some_traffic, logs=logs))
    isolates = draw(st.sampled_from(((), tuple(Direction), (Direction.INGRESS,), (Direction.EGRESS,))))
    unit, group = draw(st.sampled_from(UNITS)), draw(st.sampled_from(GROUPS))
    return program(unit, group, *rules, isolates=isolates, logs_isolation=logs)


@st.composite
def tier_programs(draw: st.DrawFn) -> Program:
    """A program of a tier or of the baseline: ordered rules with every action."""
    tier = draw(st.sampled_from(TIERS))
    rules = []
    for direction in Direction:
        for index in range(draw(st.integers(0, 2))):
            all_peers = egress_peers if direction is Direction.EGRESS else peers
            some_peers = draw(st.none() | st.lists(all_peers, max_size=2).map(tuple))
            # A name towards a CIDR cannot be lowered: see odd_programs.
            others = any(isinstance(one, BlockPeer | FqdnPeer) for one in some_peers or ())
            unnamed = others and direction is Direction.EGRESS
            kinds = traffics.filter(lambda one: "web" not in repr(one)) if unnamed else traffics
            some_traffic = draw(st.none() | st.lists(kinds, max_size=2).map(tuple))
            does, logs = draw(st.sampled_from(Action)), draw(st.booleans())
            rules.append(rule(index, direction, does, some_peers, some_traffic, logs=logs))
    unit, group = draw(st.sampled_from(TIER_UNITS)), draw(st.sampled_from(GROUPS))
    return program(unit, group, *rules, tier=tier, priority=draw(st.sampled_from((1, 2.5, 5))))


@st.composite
def odd_programs(draw: st.DrawFn) -> Program:
    """A program in which some rules cannot be lowered: drops of a Kubernetes policy, bad CIDRs and ranges."""
    odd_peers: st.SearchStrategy[Peer] = peers | st.just(BlockPeer(cidr="10.0.0.0/99"))
    odd_traffic: st.SearchStrategy[Traffic] = traffics | st.just(
        TransportTraffic(protocol="TCP", ports=PortRange(90, 80))
    )
    tier = draw(st.sampled_from((K8S_TIER, K8S_TIER, *TIERS)))
    # Not used in tiers: a pass, because when narrowed it may lead to a later allow; and two rules with the same number.
    actions = [Action.ALLOW, Action.ALLOW, Action.DROP, Action.REJECT, *([Action.PASS] if tier == K8S_TIER else [])]
    rules = [
        Rule(
            index=draw(st.integers(0, 2)) if tier == K8S_TIER else number,
            direction=draw(st.sampled_from(Direction)),
            action=draw(st.sampled_from(actions)),
            peers=draw(st.none() | st.lists(odd_peers, max_size=2).map(tuple)),
            traffic=draw(st.none() | st.lists(odd_traffic, max_size=2).map(tuple)),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    unit, group = draw(st.sampled_from(UNITS if tier == K8S_TIER else TIER_UNITS)), draw(st.sampled_from(GROUPS))
    isolates = draw(st.sampled_from(((), tuple(Direction)))) if tier == K8S_TIER else ()
    return program(unit, group, *rules, isolates=isolates, tier=tier, priority=draw(st.sampled_from((1, 2.5))))


@st.composite
def inputs(draw: st.DrawFn) -> Inputs:
    """All inputs of a node, with most ports open."""
    some_programs = draw(st.lists(programs() | tier_programs(), max_size=5))
    some_pages = draw(st.lists(pages, max_size=7))
    closed = draw(st.sets(st.sampled_from(PODS), max_size=1))
    return Inputs(
        node=HERE,
        programs={(one.applied_to, one.unit): one for one in some_programs},
        pages={(one.group, one.node): one for one in some_pages},
        ports={uid(pod): port(pod) for pod in PODS if pod not in closed},
        facts=draw(st.frozensets(facts, max_size=5)),
        opens=draw(st.sampled_from(Opens)),
    )
