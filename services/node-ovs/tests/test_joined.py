"""Which groups Pods have joined, given what they report, policies, ports and other nodes."""

from ipaddress import IPv4Address

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import Address, GroupId, NodeName, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, Direction, IgmpTraffic, Origin, Program, Rule
from sluice.dataplane.igmp import Report
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.route_flows import Uplinks
from sluice.dataplane.ovs.routes import Routing
from sluice.dataplane.ovs.text import write_all
from sluice.services.node_ovs.joined import Joined

A, B = (
    LocalPort(f"x/{name}", Uid(name), number, f"02:00:00:00:00:0{number}", (Address(f"10.0.0.{number}"),))
    for number, name in ((1, "a"), (2, "b"))
)
GROUP = int(IPv4Address("225.1.2.3"))
NAME = Address("225.1.2.3")
HERE, TWO = NodeName("node-1"), NodeName("node-2")
JOINS, LEAVES = Report(0x16, GROUP, joins=True), Report(0x17, GROUP, joins=False)


def policy(direction: Direction, *traffic: IgmpTraffic) -> Program:
    return Program(
        unit=subjects.unit(Kind.CLUSTER_NETWORK_POLICY, "", "p"),
        applied_to=GroupId("web"),
        cause=Revision(1, 1),
        origin=Origin(kind=Kind.CLUSTER_NETWORK_POLICY, namespace="", name="p", uid=Uid("p")),
        tier=250,
        priority=5,
        rules=(Rule(index=0, direction=direction, action=Action.DROP, traffic=traffic),),
    )


REPORTS, QUERIES = policy(Direction.EGRESS, IgmpTraffic(igmp_type=0x16)), policy(Direction.INGRESS, IgmpTraffic())


class Node:
    """The fold, and the switch that does what it says."""

    def __init__(self) -> None:
        self.programs: dict[Uid, list[Program]] = {}
        self.joined = Joined(lambda uid: self.programs.get(uid, []))
        self.ports = {A.uid: A, B.uid: B}
        self.routing = Routing(HERE)
        self.switch: Flows = {}

    def advance(self, now_s: float = 0) -> str:
        """What the switch holds then."""
        for key, body in self.joined.advance(self.ports, self.routing, now_s):
            if body is None:
                del self.switch[key]
            else:
                self.switch[key] = body
        return write_all(self.switch)

    def hear(self, port: LocalPort, *reports: Report, until_s: float = 100) -> str:
        self.joined.hear(port.ofport, reports, until_s)
        return self.advance()

    def reach(self, node: NodeName, *addresses: str) -> None:
        list(self.routing.use(Uplinks(tunnel=100)))
        route = NodeRoute(node=node, cause=Revision(1, 1), addresses=tuple(map(Address, addresses)))
        list(self.routing.put(route))
        self.joined.routes_changed()


def outputs(said: str) -> list[str]:
    return sorted(word for line in said.splitlines() for word in line.split(",") if word.startswith("output:"))


def node_with(*ports: LocalPort) -> Node:
    node = Node()
    node.advance()
    for port in ports:
        node.hear(port, JOINS)
    return node


def test_pods_join_and_leave() -> None:
    node = node_with(A, B)

    assert node.joined.groups == (NAME,)
    assert outputs(node.advance()) == ["output:1", "output:2"]
    assert outputs(node.hear(A, LEAVES)) == ["output:2"]
    assert node.hear(B, LEAVES) == ""
    assert not node.joined.groups


def test_what_policy_does_not_let_a_pod_say_it_has_not_said() -> None:
    node = node_with()
    node.programs = {A.uid: [REPORTS]}

    assert node.hear(A, JOINS) == ""
    assert outputs(node.hear(A, replace_type(JOINS, 0x22))) == ["output:1"]
    assert node.hear(A, JOINS) == ""  # it says it in the way that it must not: by that alone it is no member
    assert node.hear(A, replace_type(JOINS, 0x22), LEAVES) == ""  # leaving is not a report


def replace_type(report: Report, kind: int) -> Report:
    return report._replace(type=kind)


def test_policies_that_change_end_what_they_would_not_have_let_begin() -> None:
    node = node_with(A, B)
    node.programs = {A.uid: [REPORTS]}

    assert outputs(node.advance()) == ["output:1", "output:2"]  # nobody said that they changed
    node.joined.policies_changed()
    assert outputs(node.advance()) == ["output:2"]


def test_pods_that_were_denied_are_asked_when_policies_change() -> None:
    node = node_with(B)
    node.programs = {A.uid: [REPORTS], B.uid: [REPORTS]}
    node.joined.policies_changed()
    node.advance()
    node.hear(A, JOINS)
    asked = [node.joined.to_ask()]

    node.programs = {}
    for _ in range(2):
        node.joined.policies_changed()
        node.advance()
        asked.append(node.joined.to_ask())
    assert asked == [(), (1, 2), ()]


def test_who_must_not_be_asked_is_not() -> None:
    node = node_with()
    assert node.joined.askable() == (1, 2)

    node.programs = {A.uid: [QUERIES]}
    assert node.joined.askable() == (2,)


def test_a_port_that_closes_or_is_another_takes_its_groups_along() -> None:
    node = node_with(A, B)
    node.ports = {B.uid: B}
    assert outputs(node.advance()) == ["output:2"]

    node.ports = {B.uid: replace(B, ofport=3)}
    assert node.advance() == ""
    assert node.hear(B, JOINS) == ""  # there is no such port any more
    assert node.joined.groups == ()


def test_who_says_nothing_any_more_is_forgotten() -> None:
    node = node_with(A)

    assert node.joined.next_deadline_s() == 100
    assert outputs(node.advance(99)) == ["output:1"]
    assert node.advance(100) == ""
    assert node.joined.next_deadline_s() is None


def test_other_nodes_get_what_they_have_members_of() -> None:
    node = node_with(A)
    node.joined.heard_of(TWO, [NAME], 50)
    assert outputs(node.advance()) == ["output:1"]  # no way there is known

    node.reach(TWO, "192.0.2.2")
    said = node.advance()
    assert "set_field:192.0.2.2->tun_dst,output:100" in said
    assert len(said.splitlines()) == 2
    node.reach(TWO, "192.0.2.7")
    assert "set_field:192.0.2.7->tun_dst,output:100" in node.advance()
    assert outputs(node.advance(50)) == ["output:1"]
    assert node.joined.groups == (NAME,)


def test_a_group_of_another_node_alone() -> None:
    node = node_with()
    node.reach(TWO, "192.0.2.2")
    node.joined.heard_of(TWO, [NAME], 50)
    lines = node.advance().splitlines()

    assert [line.partition("actions=")[2] for line in lines if "reg0" in line] == ["drop"]
    assert node.joined.groups == ()
    node.joined.heard_of(TWO, [], 60)
    assert node.advance() == ""
