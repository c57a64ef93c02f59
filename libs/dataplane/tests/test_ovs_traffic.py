"""TrafficControls: who gets copies, where packets go, how they come back, and whose turn it is."""

from pathlib import Path

import pytest

from sluice.contracts import subjects
from sluice.contracts.groups import Member
from sluice.contracts.ids import ALL_NODES, NEVER, Address
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Direction, ServiceRef
from sluice.contracts.serving import EndpointPort, EndpointsProgram, ServedEndpoint, ServedPort, ServiceProgram
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.text import write_all
from sluice.dataplane.ovs.traffic import Traffic
from sluice.dataplane.ovs.traffic_ports import Found
from sluice.testkit import golden
from sluice.testkit.steering import (
    GROUPS,
    HERE,
    MEMBERS,
    PODS,
    TAPS,
    Node,
    answer,
    ends,
    made,
    mirror,
    packet,
    redirect,
    unit,
)

A, B, C = (PODS[name].addresses[0] for name in "abc")
IN, OUT = Direction.INGRESS, Direction.EGRESS
WEB = ServiceRef(namespace="y", name="web")
VIP = Address("10.96.0.10")
SERVICE = ServiceProgram(
    unit=subjects.unit(Kind.SERVICE, "y", "web"),
    applied_to=ALL_NODES,
    cause=NEVER,
    service=WEB,
    addresses=(VIP,),
    ports=(ServedPort(port=80),),
)


def endpoint(address: Address) -> EndpointsProgram:
    return EndpointsProgram(
        unit=subjects.unit(Kind.ENDPOINT_SLICE, "y", "web-1"),
        applied_to=ALL_NODES,
        cause=NEVER,
        service=WEB,
        ports=(EndpointPort(port=8080),),
        endpoints=(ServedEndpoint(address=address, node=HERE),),
    )


@pytest.mark.parametrize("directions", [(IN,), (OUT,), (OUT, IN)])
def test_a_mirror_copies_what_its_direction_says(directions):
    node = Node(mirror("m", "a", "tap0", directions))

    sent = node.send(packet("a", B)).ports
    received = node.send(packet("b", A)).ports

    assert set(sent) == {2, *([50] if OUT in directions else [])}
    assert set(received) == {1, *([50] if IN in directions else [])}


def test_each_target_has_one_copy_whoever_asks_for_it():
    node = Node(mirror("m1", "a", "tap0"), mirror("m2", "ab", "tap0"), mirror("m3", "b", "tap2"))

    assert sorted(node.send(packet("a", B)).ports) == [2, 50, 52]
    assert sorted(node.send(packet("a", C)).ports) == [3, 50]
    assert sorted(node.send(packet("c", B)).ports) == [2, 50, 52]


def test_what_is_redirected_is_delivered_when_it_comes_back_and_not_redirected_again():
    node = Node(redirect("r", "ab"))

    away = node.send(packet("a", B))
    back = node.give_back(away.sent[0], "tap1")

    assert away.ports == (TAPS["tap0"],)
    assert back.ports == (2,)
    assert ends(back.sent[0].packet) == (A, 40000, B, 80)


def test_the_answer_goes_the_same_way():
    node = Node(redirect("r", "a"))
    heard = node.give_back(node.send(packet("a", B)).sent[0], "tap1").sent[0]

    away = node.send(answer(heard.packet, "b"))
    back = node.give_back(away.sent[0], "tap1")

    assert (away.ports, back.ports) == ((50,), (1,))


def test_nothing_comes_back_that_was_not_redirected():
    node = Node(redirect("r", "a"))

    forged = node.walker.walk({**packet("a", B), next(iter(packet("a", B))): TAPS["tap1"]})

    assert forged.ports == ()


@pytest.mark.parametrize("watched", ["a", "b", "ab"])
@pytest.mark.parametrize("client", [A])
def test_both_directions_of_a_connection_to_a_service_are_seen_with_the_endpoint(watched, client):
    node = Node(redirect("r", watched), mirror("m", watched, "tap2"))
    node.serve(SERVICE, endpoint(B))

    asked = node.send(packet("a", VIP))
    heard = node.give_back(asked.sent[-1], "tap1").sent[0]
    answered = node.send(answer(heard.packet, "b"))
    told = node.give_back(answered.sent[-1], "tap1")

    assert [one.port for one in asked.sent] == [52, 50]
    assert {ends(one.packet) for one in asked.sent} == {(A, 40000, B, 8080)}
    assert (heard.port, ends(heard.packet)) == (2, (A, 40000, B, 8080))
    assert [one.port for one in answered.sent] == [52, 50]
    assert {ends(one.packet) for one in answered.sent} == {(B, 8080, A, 40000)}
    assert [(one.port, ends(one.packet)) for one in told.sent] == [(1, (VIP, 80, A, 40000))]


@pytest.mark.parametrize(("watched", "directions"), [("a", (IN,)), ("a", (OUT,)), ("b", (IN,)), ("b", (OUT,))])
def test_a_connection_to_a_service_lives_where_one_direction_is_redirected(watched, directions):
    node = Node(redirect("r", watched, directions=directions))
    node.serve(SERVICE, endpoint(B))

    asked = node.send(packet("a", VIP)).sent[0]
    heard = node.give_back(asked, "tap1").sent[0] if asked.port == TAPS["tap0"] else asked
    answered = node.send(answer(heard.packet, "b")).sent[0]
    told = node.give_back(answered, "tap1").sent[0] if answered.port == TAPS["tap0"] else answered

    assert {asked.port, answered.port} & {TAPS["tap0"]}
    assert (told.port, ends(told.packet)) == (1, (VIP, 80, A, 40000))


def test_a_mirror_of_a_service_shows_the_endpoint_and_the_client_hears_the_service():
    node = Node(mirror("m", "a", "tap2"))
    node.serve(SERVICE, endpoint(B))

    asked = node.send(packet("a", VIP))
    answered = node.send(answer(asked.sent[-1].packet, "b"))

    assert [(one.port, ends(one.packet)) for one in answered.sent] == [
        (52, (B, 8080, A, 40000)),
        (1, (VIP, 80, A, 40000)),
    ]


def test_the_earlier_redirects_and_the_other_is_told():
    node = Node(redirect("late", "ab", "tap2", "tap3"), redirect("old", "a", created="2024-01-01T00:00:00.000000Z"))

    assert node.send(packet("a", C)).ports == (TAPS["tap0"],)
    assert node.send(packet("b", C)).ports == (TAPS["tap2"],)
    assert [problem.unit for problem in node.traffic.problems()] == [unit("late")] * 2
    assert all(said in node.traffic.problems()[0].reason for said in ("x/a", unit("old")))


def test_one_redirect_for_each_direction():
    node = Node(redirect("in", "a", directions=(IN,)), redirect("out", "a", "tap2", "tap3", directions=(OUT,)))

    assert node.send(packet("a", B)).ports == (TAPS["tap2"],)
    assert node.send(packet("b", A)).ports == (TAPS["tap0"],)
    assert node.traffic.problems() == ()


def test_between_two_pods_the_senders_redirect_comes_first_and_then_the_receivers():
    node = Node(redirect("of-a", "a", "tap0", "tap1"), redirect("of-b", "b", "tap2", "tap3"))

    first = node.send(packet("a", B))
    second = node.give_back(first.sent[0], "tap1")
    last = node.give_back(second.sent[0], "tap3")

    assert (first.ports, second.ports, last.ports) == ((TAPS["tap0"],), (TAPS["tap2"],), (2,))


def test_a_device_that_stands_in_both_directions_is_passed_once():
    node = Node(redirect("of-a", "a", "tap0", "tap1", (OUT,)), redirect("of-b", "b", "tap1", "tap0", (IN,)))

    away = node.send(packet("a", B))
    back = node.give_back(away.sent[0], "tap1")

    assert (away.ports, back.ports) == ((TAPS["tap0"],), (2,))


def test_what_is_redirected_is_copied_once():
    node = Node(redirect("r", "ab"), mirror("m", "ab", "tap2"))

    away = node.send(packet("a", B))
    back = node.give_back(away.sent[-1], "tap1")

    assert (away.ports, back.ports) == ((TAPS["tap2"], TAPS["tap0"]), (2,))


@pytest.mark.parametrize(("when_gone", "ports"), [("drop", ()), ("pass", (2,))])
def test_without_its_target_what_would_be_redirected_is_dropped_unless_it_may_pass(when_gone, ports):
    node = Node(redirect("r", "a", when_gone=when_gone))
    node.traffic.switch_has(
        {**made(node.traffic.wishes()), "tap0": Found("tap0", "internal", "ours", None, "no such device")}, {}
    )
    node.drain()

    assert node.send(packet("a", B)).ports == ports
    (problem,) = node.traffic.problems()
    assert problem.state == "failed"
    assert "no such device" in problem.reason


def test_ports_that_change_are_there_before_packets_go_to_them():
    node = Node(redirect("r", "a"))
    before = dict(node.flows)
    node.traffic.put(redirect("r", "a", "tap2", "tap3"))
    node.traffic.switch_has({name: one for name, one in made(node.traffic.wishes()).items() if name != "tap3"}, {})
    node.drain()

    assert node.flows == before
    assert node.traffic.wishes().keys() == {"tap0", "tap1", "tap2", "tap3"}
    node.put()
    assert node.send(packet("a", B)).ports == (TAPS["tap2"],)
    assert node.traffic.wishes().keys() == {"tap2", "tap3"}


def test_a_new_redirect_is_in_force_when_its_ports_are_there():
    node = Node()
    node.traffic.put(redirect("r", "a"))
    node.drain()

    assert node.flows == {}
    assert [problem.state for problem in node.traffic.problems()] == ["waiting", "waiting"]


def test_a_pod_that_asks_itself_by_a_service_is_not_watched():
    node = Node(redirect("r", "a"), mirror("m", "a", "tap2"))
    node.serve(SERVICE, endpoint(A))

    asked = node.send(packet("a", VIP))
    told = node.send(answer(asked.sent[0].packet, "a"))

    assert (asked.ports, told.ports) == ((1,), (1,))
    assert ends(told.sent[0].packet) == (VIP, 80, A, 40000)


def test_nothing_is_left_when_all_are_gone():
    programs = redirect("r", "ab"), mirror("m", "a", "tap2"), mirror("n", "b", "tap0")
    node = Node(*programs)

    node.put(drop=programs)

    assert (node.flows, node.traffic.wishes(), node.traffic.counted(), len(node.ids.traffic)) == ({}, {}, {}, 0)


def test_golden():
    """x/a and x/b are redirected to tap0 and come back by tap1; what x/a says is copied to tap2."""
    node = Node(redirect("ips", "ab"), mirror("ids", "a", "tap2"))

    golden.check(Path(__file__).parent / "golden/traffic.flows", write_all(node.flows))


def test_a_programmer_that_begins_anew_has_the_same_numbers_before_and_after_ports_are_told():
    programs = mirror("gone", "b", "tap2"), mirror("m", "a", "tap0"), redirect("r", "b")
    before = Node(*programs)
    before.put(drop=programs[:1])
    ids = RuleIds.restore(before.ids.state())
    ids.traffic["ingress trafficcontrols:_:gone"]
    after = Traffic(ids)
    for program in programs[1:]:
        after.put(program)
    after.forget_unused()
    for group, pods in MEMBERS.items():
        members = [Member(pod=PODS[one].pod, uid=PODS[one].uid, addresses=PODS[one].addresses) for one in pods]
        after.members_are(GROUPS[group], members)
    after.switch_has(made(after.wishes()), {})
    for port in PODS.values():
        after.open_port(port)

    assert after.flows == before.flows
    assert ids.traffic.state() == before.ids.traffic.state()


def test_copies_follow_their_target():
    node = Node(mirror("m", "a", "tap0"))
    node.put(mirror("m", "a", "tap2"))

    assert node.send(packet("a", B)).ports == (52, 2)
    assert node.traffic.wishes().keys() == {"tap2"}
