"""What was, since when, and what would be: all of it is what the states say that one gets by folding afresh."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts import codec, subjects
from sluice.contracts.audit import FlowDecision
from sluice.contracts.ids import Address
from sluice.contracts.objects import AnyObject, ObjectMeta
from sluice.contracts.services import SERVICE_LABEL, Endpoint, EndpointPort, EndpointSlice
from sluice.grouping.events import ObjectEvent, key_of
from sluice.ledger.chain import Entry
from sluice.ledger.state import State
from sluice.policy import whatif
from sluice.policy.bisecting import NoTurn, bisect
from sluice.policy.connectivity import connectivity
from sluice.policy.ends import NoSuchEnd
from sluice.policy.fate import fate
from sluice.policy.packet import AddressEnd, Packet, PodEnd, ServiceEnd
from sluice.policy.past import Journey, cluster
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Outcome
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import namespace, netpol, node, pod, service
from sluice.testkit.strategies import packets
from sluice.testkit.work import work

EPOCH = 1

CLUSTER: list[AnyObject] = [
    namespace("x"),
    pod("x/web", ip="10.0.0.1", app="web"),
    pod("x/db", ip="10.0.0.2", app="db"),
    pod("x/old", ip="10.0.0.3", app="old"),
]
ASKED = Packet(source=PodEnd("x", "web"), destination=PodEnd("x", "db"), protocol="TCP", port=5432)
BY_ADDRESS = Packet(
    source=AddressEnd(Address("10.0.0.1")), destination=AddressEnd(Address("10.0.0.2")), protocol="TCP", port=5432
)
CLOSED = netpol("x/closed")


def entries_of(events: Sequence[ObjectEvent]) -> list[Entry]:
    return [
        Entry(at, subjects.object_(*event.key), codec.encode(event.object) if event.object else b"")
        for at, event in enumerate(events, start=1)
    ]


def stored(objects: Sequence[AnyObject], first: int = 1) -> list[Entry]:
    return [Entry(at, subjects.object_(*key_of(obj)), codec.encode(obj)) for at, obj in enumerate(objects, start=first)]


def folded(entries: Sequence[Entry], upto: int) -> ClusterState:
    held = State()
    for entry in entries:
        if entry.sequence <= upto:
            held.take(entry)
    return cluster(held, EPOCH)


def outcome(state: ClusterState, packet: Packet) -> str | None:
    try:
        return fate(state, packet).outcome
    except NoSuchEnd:
        return None


@given(antrea_stories(), st.lists(st.integers(0, 25), max_size=6), st.lists(packets, min_size=1, max_size=5))
def test_a_journey_arrives_where_a_fold_does(events: list[ObjectEvent], places: list[int], asked: list[Packet]) -> None:
    entries = entries_of(events)
    journey = Journey(State(), entries)
    for wanted in places:
        place = min(wanted, len(journey.entries))
        upto = journey.entries[place - 1].sequence if place else 0
        here, afresh = journey.go(place), folded(entries, upto)
        assert dict(here.selectors) == dict(afresh.selectors)
        assert not whatif.programs(here, afresh)
        assert [outcome(here, packet) for packet in asked] == [outcome(afresh, packet) for packet in asked]


@given(antrea_stories(), packets, st.integers(0, 25))
def test_a_turn_is_where_the_outcome_changes(events: list[ObjectEvent], packet: Packet, begin: int) -> None:
    entries = entries_of(events)
    begun = State()
    for entry in entries[:begin]:
        begun.take(entry)
    first, last = outcome(folded(entries, begin), packet), outcome(folded(entries, len(entries)), packet)
    try:
        turn = bisect(begun, entries[begin:], packet)
    except NoTurn:
        assert first == last
        return
    assert first != last
    before, after = (outcome(folded(entries, upto), packet) for upto in (turn.entry.sequence - 1, turn.entry.sequence))
    assert (before, after) == (turn.before and turn.before.outcome, turn.after and turn.after.outcome)
    assert before != last == after


def test_no_turn_says_what_the_packet_meets() -> None:
    with pytest.raises(NoTurn, match="Allowed at the beginning and at the end"):
        bisect(State(), [*stored(CLUSTER), *stored(CLUSTER, 5)][3:], BY_ADDRESS)


def test_a_planted_change_among_many_is_found() -> None:
    before = stored(
        [*CLUSTER, *(pod(f"x/p{number}", ip=f"10.1.{number >> 8}.{number & 255}") for number in range(900))]
    )
    churn = before[4:] * 11
    after = [*churn[:5_000], *stored([CLOSED]), *churn[5_000:]]
    entries = [entry._replace(sequence=at) for at, entry in enumerate([*before, *after], start=1)]
    begun = State()
    for entry in entries[: len(before)]:
        begun.take(entry)
    for packet in (ASKED, BY_ADDRESS):
        began = time.process_time()
        turn = bisect(begun, entries[len(before) :], packet)
        assert time.process_time() - began < 10  # the whole machine may be busy; tests/bench has figures
        assert turn.entry.subject == "objects.k8snetworkpolicies.x.closed"
        assert turn.entry.sequence == len(before) + 5_001
        assert (turn.before and turn.before.outcome, turn.after and turn.after.outcome) == (
            Outcome.ALLOWED,
            Outcome.DROPPED,
        )


def test_a_pod_that_took_another_address_gives_up_the_one_it_had() -> None:
    entries = stored([*CLUSTER, CLOSED, pod("x/db", ip="10.0.0.9", app="db")])
    begun = State()
    for entry in entries[:5]:
        begun.take(entry)
    turn = bisect(begun, entries[5:], BY_ADDRESS)
    assert turn.entry.sequence == 6
    assert (turn.before and turn.before.outcome) == Outcome.DROPPED


def behind(*addresses: str) -> AnyObject:
    """The endpoints of the Service x/db."""
    return EndpointSlice(
        api_version="discovery.k8s.io/v1",
        kind="EndpointSlice",
        metadata=ObjectMeta(name="db-1", namespace="x", labels={SERVICE_LABEL: "db"}),
        address_type="IPv4",
        endpoints=tuple(Endpoint(addresses=(one,)) for one in addresses),
        ports=(EndpointPort(name="", port=5432),),
    )


DB = service("x/db", {"clusterIPs": ["10.96.0.1", "fd00:96:0::1"], "ports": [{"port": 80, "targetPort": 5432}]})
CLOSED_DB = netpol("x/closed", {"podSelector": {"matchLabels": {"app": "db"}}})


class Turned(NamedTuple):
    name: str
    there: list[AnyObject]
    came: AnyObject
    outcomes: tuple[str, str]


TURNED = [
    Turned("closed", [behind("10.0.0.2")], CLOSED_DB, ("Allowed", "Dropped")),
    Turned("nothing behind it", [behind("10.0.0.2"), CLOSED_DB], behind(), ("Dropped", "Rejected")),
    Turned("another too", [behind("10.0.0.2"), CLOSED_DB], behind("10.0.0.2", "10.0.0.3"), ("Dropped", "Varies")),
]


@pytest.mark.parametrize("to", [ServiceEnd("x", "db"), AddressEnd(Address("10.96.0.1"))], ids=["name", "address"])
@pytest.mark.parametrize("case", TURNED, ids=lambda case: case.name)
def test_a_service_turns_alike_by_its_name_and_by_its_address(case: Turned, to: ServiceEnd | AddressEnd) -> None:
    entries = stored([*CLUSTER, DB, *case.there, pod("x/idle"), case.came, pod("x/busy")])
    begun = State()
    for entry in entries[:-3]:
        begun.take(entry)
    turn = bisect(begun, entries[-3:], replace(BY_ADDRESS, destination=to, port=80))
    assert turn.entry == entries[-2]
    assert (turn.before and turn.before.outcome, turn.after and turn.after.outcome) == case.outcomes


def test_a_cluster_ip_means_its_service_alone() -> None:
    state = ClusterState([*CLUSTER, DB, behind("10.0.0.2"), CLOSED_DB])
    by_ip = replace(BY_ADDRESS, destination=AddressEnd(Address("10.96.0.1")), port=80)
    assert outcome(state, by_ip) == Outcome.DROPPED
    assert fate(state, by_ip).packet.destination == ServiceEnd("x", "db")
    assert outcome(state, replace(by_ip, destination=AddressEnd(Address("10.96.0.2")))) == Outcome.ALLOWED
    assert outcome(state, replace(by_ip, family=6)) is None, "an IPv4 address is none of IPv6"
    second = replace(by_ip, destination=AddressEnd(Address("fd00:96::1")))
    assert outcome(state, second) is None, "its source has no address of the family"


def decided(source: str, destination: str, port: int, packets: int = 1) -> FlowDecision:
    return FlowDecision(
        at_us=0,
        table="IngressRule",
        policy="K8sNetworkPolicy:x/p",
        direction="Ingress",
        action="Allow",
        source=Address(source),
        source_port=40_000,
        destination=Address(destination),
        destination_port=port,
        protocol="TCP",
        length=60,
        packets=packets,
    )


def test_what_a_policy_would_change() -> None:
    before, after = ClusterState(CLUSTER), ClusterState([*CLUSTER, CLOSED])
    (made,) = whatif.programs(before, after)
    assert (made.way, made.unit) == ("added", "k8snetworkpolicies:x:closed")
    assert [one.way for one in whatif.programs(after, before)] == ["removed"]
    assert [way for way, _ in whatif.groups(before, after).values()] == ["added"]
    told = [decided("10.0.0.1", "10.0.0.2", 80), decided("10.0.0.1", "192.0.2.1", 443, 7)]
    told += [decided("10.0.0.1", "10.0.0.2", 80, 2)]
    (changed,) = whatif.verdicts(before, after, whatif.recorded(told))
    assert changed.connection.times == 3
    assert (changed.before and changed.before.outcome, changed.after and changed.after.outcome) == (
        Outcome.ALLOWED,
        Outcome.DROPPED,
    )


def test_what_stays_the_same_is_no_change() -> None:
    before, after = ClusterState([*CLUSTER, CLOSED]), ClusterState([CLOSED, *CLUSTER])
    assert not whatif.programs(before, after)
    assert not whatif.groups(before, after)
    assert not whatif.concerned(before, after)
    assert not list(whatif.reach(before, after, frozenset(before.pods)))


class Concern(NamedTuple):
    name: str
    change: list[AnyObject]
    """Added, or instead of what has the same name."""

    pods: set[str]


OPEN_TO_ALL = {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}
CONCERNS = [
    Concern("nothing", [CLUSTER[1]], set()),
    Concern("a policy in one Namespace", [netpol("x/p", {"podSelector": {}})], {"x/web", "x/db", "x/old"}),
    Concern("its peers are no matter, all Pods or not", [netpol("x/p", OPEN_TO_ALL)], {"x/db"}),
    Concern("a policy about nobody", [netpol("z/p")], set()),
    Concern("labels of a Pod", [pod("x/web", ip="10.0.0.1", app="new")], {"x/web"}),
    Concern("a new Pod", [pod("y/c", ip="10.0.1.9")], {"y/c"}),
    Concern(
        "an address that changes hands", [pod("y/c", ip="10.0.0.1", created="2026-01-01T00:00:00Z")], {"y/c", "x/web"}
    ),
    Concern("labels of a Namespace", [namespace("y", team="y")], {"y/a", "y/host"}),
    Concern("a node, for what shares its network", [node("node-1", ip=["172.18.0.1"], role="edge")], {"y/host"}),
]


@pytest.mark.parametrize("case", CONCERNS, ids=lambda case: case.name)
def test_whom_a_change_concerns(case: Concern) -> None:
    more: list[AnyObject] = [
        namespace("y"),
        node("node-1", ip=["172.18.0.1"]),
        pod("y/a", ip="10.0.1.1"),
        pod("y/host", ip="172.18.0.1", host_network=True),
    ]
    before, after = ClusterState([*CLUSTER, *more]), ClusterState([*CLUSTER, *more, *case.change])

    found = whatif.concerned(before, after)

    assert {"/".join(key) for key in found} == case.pods
    everything = frozenset((*before.pods, *after.pods))
    assert list(whatif.reach(before, after, found)) == list(whatif.reach(before, after, everything))


def test_a_change_costs_what_it_concerns() -> None:
    """In twice the cluster a change in one Namespace is twice the work: its Pods are compared with all others."""

    def change(teams: int) -> tuple[ClusterState, ClusterState]:
        there: list[AnyObject] = []
        for number in range(teams):
            name = f"t{number:03}"
            there += [namespace(name), netpol(f"{name}/p"), pod(f"{name}/a", ip=f"10.1.{number}.1")]
        return ClusterState(there), ClusterState([*there, netpol("t000/p", OPEN_TO_ALL)])

    def plan(teams: int) -> int:
        before, after = change(teams)
        return work(lambda: list(whatif.reach(before, after, whatif.concerned(before, after))))

    plan(4)

    assert plan(100) < 2.3 * plan(50)


@given(antrea_stories(), st.integers(0, 25))
def test_reach_is_the_difference_of_connectivity(events: list[ObjectEvent], place: int) -> None:
    entries = entries_of(events)
    before, after = folded(entries, place), folded(entries, len(entries))
    told = {(one.source, one.destination) for one in whatif.reach(before, after, whatif.concerned(before, after))}
    then = {(pair.source, pair.destination): pair.allowed for pair in connectivity(before)}
    since = {(pair.source, pair.destination): pair.allowed for pair in connectivity(after)}
    nothing = ((), (), ())
    assert told == {pair for pair in then.keys() | since.keys() if then.get(pair, nothing) != since.get(pair, nothing)}
