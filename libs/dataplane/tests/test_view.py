"""What a node's view lets through, and when."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Local, Mark, Member, Own, Page
from sluice.contracts.ids import ALL_NODES, Address, GroupId, NodeName, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, Direction, GroupPeer, Origin, Program, Rule, ServiceRef, TransportTraffic
from sluice.contracts.serving import EndpointsProgram, ServiceProgram
from sluice.dataplane.view import GRACE_S, Step, View
from sluice.policy.everypod import EVERY_POD_ID

NODE, OTHER = NodeName("node-1"), NodeName("node-2")
WEB, PEERS, MORE = GroupId("web"), GroupId("peers"), GroupId("more")
UNIT = subjects.unit(Kind.K8S_NETWORK_POLICY, "shop", "web")

Told = tuple[str, bytes, Revision]


def at(sequence: int) -> Revision:
    return Revision(1, sequence)


def member(name: str) -> Member:
    return Member(pod=f"shop/{name}", uid=Uid(name), addresses=(Address("10.0.0.7"),))


def told(subject: str, value: Struct, cause: int) -> Told:
    return subject, codec.encode(value), at(cause)


def gone(subject: str, cause: int) -> Told:
    return subject, b"", at(cause)


def page(group: GroupId, node: NodeName, cause: int, *members: str) -> Told:
    value = Page(group=group, node=node, cause=at(cause), members=tuple(member(name) for name in members))
    return told(subjects.page(group, node), value, cause)


def own(cause: int, *groups: GroupId) -> Told:
    return told(subjects.own(NODE, 0), Own(node=NODE, shard=0, cause=at(cause), groups=groups), cause)


def local(cause: int, *pods: str) -> Told:
    return told(subjects.local(NODE), Local(node=NODE, cause=at(cause), pods=tuple(map(member, pods))), cause)


def program(cause: int, *peers: GroupId) -> Told:
    rule = Rule(
        index=0,
        direction=Direction.INGRESS,
        action=Action.ALLOW,
        peers=tuple(GroupPeer(group=group) for group in peers),
    )
    value = Program(
        unit=UNIT,
        applied_to=WEB,
        cause=at(cause),
        origin=Origin(kind=Kind.K8S_NETWORK_POLICY, namespace="shop", name="web", uid=Uid("u")),
        tier=251,
        priority=0,
        rules=(rule,),
        isolates=(Direction.INGRESS,),
    )
    return told(subjects.program("ovs", WEB, UNIT), value, cause)


def program_gone(cause: int) -> Told:
    return gone(subjects.program("ovs", WEB, UNIT), cause)


def marks(sequence: int, *, shards: int = 1) -> list[Told]:
    def mark(shard: int) -> Mark:
        return Mark(shard=shard, shards=shards, upto=at(sequence))

    groups = [told(subjects.group_mark(shard), mark(shard), sequence) for shard in range(shards)]
    programs = [told(subjects.program_mark("ovs", shard), mark(shard), sequence) for shard in range(shards)]
    return groups + programs


class Watched(View):
    """A view whose interests the tests can look at."""

    def __init__(self) -> None:
        super().__init__(NODE, "ovs")
        self.read: frozenset[str] = frozenset()

    @property
    def wanted(self) -> frozenset[str]:
        interests = self.interests()
        self.read = self.read - interests.drop | interests.add
        return self.read


def view_of(*events: Told, answer: bool = True) -> Watched:
    view = Watched()
    tell(view, *events, answer=answer)
    return view


def tell(view: Watched, *events: Told, answer: bool = True) -> None:
    for subject, body, cause in events:
        view.take(subject, body, cause, 0.0)
        if answer:
            view.answered(view.wanted)


def step_of(view: View, now_s: float) -> Step:
    step = view.step(now_s)
    assert step is not None
    return step


def running() -> Watched:
    """A view past its first step: web runs here, protected by a program that names `peers`."""
    view = view_of(own(1, WEB), local(1, "web"), page(WEB, NODE, 1, "web"), program(1, PEERS), *marks(1))
    assert view.step(0.0) is not None
    return view


def test_nothing_happens_before_everything_wanted_is_answered():
    view = view_of(own(1, WEB), local(1, "web"), *marks(1), answer=False)
    assert view.step(0.0) is None

    base = view.wanted
    view.answered(base)

    first = step_of(view, 0.0)
    assert first.whole
    assert first.upto == at(1)


def test_a_program_found_at_start_makes_its_peers_wanted_before_the_first_step():
    view = view_of(own(1, WEB), local(1, "web"), page(WEB, NODE, 1, "web"), program(1, PEERS), *marks(1), answer=False)
    known = view.wanted - {subjects.pages(PEERS)}
    view.answered(known)

    assert subjects.pages(PEERS) in view.wanted
    assert view.step(0.0) is None


def test_a_name_of_a_port_without_peers_makes_every_pod_wanted():
    _, body, _ = program(1)
    value = codec.decode(body, Program)
    (one,) = value.rules
    named = TransportTraffic(protocol="TCP", ports="web")
    asking = replace(one, direction=Direction.EGRESS, peers=None, traffic=(named,))
    about = told(subjects.program("ovs", WEB, UNIT), replace(value, rules=(asking,)), 1)

    view = view_of(own(1, WEB), local(1, "web"), page(WEB, NODE, 1, "web"), about, *marks(1))

    assert subjects.pages(EVERY_POD_ID) in view.wanted


def test_no_mark_no_step():
    assert view_of(own(1, WEB), local(1, "web")).step(0.0) is None


@pytest.mark.parametrize("missing", range(4))
def test_the_mark_of_every_shard_is_needed(missing):
    events = marks(1, shards=2)
    del events[missing]

    assert view_of(*events).step(0.0) is None


def test_the_oldest_mark_decides():
    view = view_of(*marks(1))
    view.step(0.0)
    tell(view, local(5, "a"), marks(5)[0])

    assert view.step(0.0) is None

    tell(view, marks(5)[1])
    step = step_of(view, 0.0)
    assert step.upto == at(5)
    assert step.local is not None
    assert [pod.uid for pod in step.local.pods] == ["a"]


@pytest.mark.parametrize("behind", range(4))
def test_one_shard_that_is_behind_holds_everything_back(behind):
    view = view_of(*marks(1, shards=2))
    view.step(0.0)
    newer = marks(5, shards=2)
    late = newer.pop(behind)
    tell(view, local(5, "a"), *newer)

    assert view.step(0.0) is None

    tell(view, late)
    assert step_of(view, 0.0).upto == at(5)


def test_a_program_ends_while_its_group_stays():
    view = running()
    tell(view, program_gone(2), *marks(2))

    assert step_of(view, 0.0).programs == {(WEB, UNIT): None}


def test_the_pieces_of_one_change_act_together():
    """A changed selector: new program, new group's page, old group's tombstone, in the worst order."""
    view = running()
    tell(view, page(PEERS, OTHER, 2, "old"), *marks(2))
    assert step_of(view, 0.0).pages.keys() == {(PEERS, OTHER)}

    tell(view, gone(subjects.page(PEERS, OTHER), 3), marks(3)[0])
    assert view.step(0.0) is None
    tell(view, program(3, MORE), page(MORE, OTHER, 3, "new"))
    assert view.step(0.0) is None
    tell(view, marks(3)[1])

    step = step_of(view, 0.0)
    assert step.programs.keys() == {(WEB, UNIT)}
    assert step.pages == {(PEERS, OTHER): None, (MORE, OTHER): step.pages[MORE, OTHER]}
    assert isinstance(new := step.pages[MORE, OTHER], Page)
    assert new.members == (member("new"),)


def test_a_changed_program_waits_for_its_peers_and_holds_back_what_is_younger():
    view = running()
    tell(view, program(2, MORE), local(3, "web", "b"), *marks(3), answer=False)

    assert view.step(0.0) is None

    view.answered(view.wanted)
    step = step_of(view, 0.0)
    assert step.upto == at(3)
    assert step.programs.keys() == {(WEB, UNIT)}
    assert step.local is not None


def test_what_is_older_is_not_held_back():
    view = running()
    tell(view, page(PEERS, OTHER, 2, "a"))
    tell(view, program(3, MORE), *marks(3), answer=False)

    step = step_of(view, 0.0)
    assert step.upto == at(2)
    assert step.pages.keys() == {(PEERS, OTHER)}
    assert not step.programs


def test_after_the_grace_a_changed_program_keeps_its_form_and_the_rest_goes_on():
    view = running()
    tell(view, program(2, MORE), local(3, "web", "b"), *marks(3), answer=False)
    assert view.next_deadline_s(0.0) == GRACE_S

    step = step_of(view, GRACE_S)
    assert not step.programs
    assert step.local is not None
    assert step.incomplete == (UNIT,)
    assert view.next_deadline_s(GRACE_S) is None

    view.answered(view.wanted)
    step = step_of(view, GRACE_S)
    assert step.programs.keys() == {(WEB, UNIT)}
    assert step.incomplete == ()


def test_after_the_grace_a_new_program_is_let_through_and_reported():
    view = view_of(own(1, WEB), local(1, "web"), page(WEB, NODE, 1, "web"), *marks(1))
    view.step(0.0)
    tell(view, program(2, MORE), *marks(2), answer=False)

    step = step_of(view, GRACE_S)
    assert step.programs.keys() == {(WEB, UNIT)}
    assert step.incomplete == (UNIT,)

    tell(view, page(MORE, OTHER, 2, "late"))
    assert step_of(view, GRACE_S).incomplete == ()


def test_own_groups_have_no_grace():
    """Else a new Pod's port would open before the programs of its groups are known."""
    view = view_of(*marks(1))
    view.step(0.0)
    tell(view, own(2, WEB), local(2, "web"), *marks(2), answer=False)

    assert view.step(100 * GRACE_S) is None

    view.answered(view.wanted)
    tell(view, program(2), answer=False)
    step = step_of(view, 100 * GRACE_S)
    assert step.local is not None
    assert step.programs.keys() == {(WEB, UNIT)}


def test_what_nobody_needs_any_more_is_forgotten():
    view = running()
    tell(view, page(PEERS, OTHER, 2, "a"), *marks(2))
    view.step(0.0)
    assert {subjects.pages(PEERS), subjects.programs("ovs", WEB), subjects.page(WEB, NODE)} <= view.wanted

    tell(view, own(3), local(3), gone(subjects.page(WEB, NODE), 3), *marks(3))

    step = step_of(view, 0.0)
    assert step.programs == {(WEB, UNIT): None}
    assert step.pages == {(PEERS, OTHER): None, (WEB, NODE): None}
    assert view.wanted == Watched().wanted
    tell(view, page(PEERS, OTHER, 4, "a"), program(4), *marks(4))
    assert not step_of(view, 0.0).pages


def test_a_group_that_left_between_two_steps_leaves_nothing():
    view = view_of(*marks(1))
    view.step(0.0)
    tell(view, own(2, WEB), program(2, PEERS), page(PEERS, OTHER, 2, "a"), own(3), *marks(3))

    step = step_of(view, 0.0)
    assert not any(step.programs.values())
    assert not any(step.pages.values())
    assert view.wanted == Watched().wanted


def test_a_peer_page_goes_but_the_own_page_of_the_same_group_stays():
    view = running()
    tell(view, program(2, WEB), page(WEB, OTHER, 2, "far"), *marks(2))
    view.step(0.0)
    tell(view, program(3, PEERS), *marks(3))

    assert step_of(view, 0.0).pages == {(WEB, OTHER): None}
    assert subjects.page(WEB, NODE) in view.wanted


def test_a_mark_alone_moves_the_revision():
    view = running()
    tell(view, *marks(9))

    assert step_of(view, 0.0).upto == at(9)
    assert view.step(0.0) is None


def test_other_nodes_and_backends_are_not_ours():
    view = view_of(*marks(1))
    view.step(0.0)
    foreign = [
        told(subjects.own(OTHER, 0), Own(node=OTHER, shard=0, cause=at(1), groups=(WEB,)), 1),
        told(subjects.local(OTHER), Local(node=OTHER, cause=at(1), pods=()), 1),
        told(subjects.program_mark("tc", 0), Mark(shard=0, shards=1, upto=at(9)), 9),
        gone(subjects.group_mark(0), 9),
    ]
    tell(view, *foreign)

    assert view.step(0.0) is None


def test_what_does_not_decode_changes_nothing():
    view = running()
    with pytest.raises(codec.Undecodable):
        view.take(subjects.page(PEERS, OTHER), b"{", at(2), 0.0)
    with pytest.raises(subjects.BadSubject):
        view.take("groups.a.b.c.d", b"{}", at(2), 0.0)

    assert view.step(0.0) is None


def unread_program(cause: int) -> Told:
    """One that a later version wrote: its rule has a peer that nobody here knows."""
    subject, body, at_cause = program(cause, PEERS)
    return subject, body.replace(b'"type":"group"', b'"type":"later"'), at_cause


def take_unread(view: Watched, cause: int) -> None:
    with pytest.raises(codec.Undecodable):
        view.take(*unread_program(cause), 0.0)


def test_a_program_that_cannot_be_read_is_closed_where_it_is_unknown():
    view = view_of(own(1, WEB), *marks(1))
    take_unread(view, 1)
    tell(view)
    found = step_of(view, 0.0).programs[WEB, UNIT]

    assert found is not None
    assert (found.isolates, [rule.peers for rule in found.rules]) == ((Direction.INGRESS,), [()])
    assert not view.unread[WEB, UNIT].kept
    take_unread(view, 2)
    assert not view.unread[WEB, UNIT].kept

    tell(view, program(3, PEERS), *marks(3))
    assert step_of(view, 0.0).programs == {(WEB, UNIT): view._programs[WEB, UNIT]}
    assert not view.unread


@pytest.mark.parametrize("last", [program(3, PEERS), program_gone(3)], ids=["it can be read again", "it goes"])
def test_a_program_that_cannot_be_read_any_more_stays_as_it_was(last: Told):
    view = running()
    take_unread(view, 2)
    tell(view, *marks(2))
    assert step_of(view, 0.0).programs == {}
    assert view.unread[WEB, UNIT].kept

    tell(view, last, *marks(3))
    assert (WEB, UNIT) in step_of(view, 0.0).programs
    assert not view.unread


def test_what_is_unread_is_forgotten_with_its_group():
    view = running()
    take_unread(view, 2)
    tell(view, own(3), *marks(3))
    view.step(0.0)
    assert not view.unread

    take_unread(view, 4)
    assert not view.unread


HISTORY: list[list[Told]] = [
    [own(1, WEB), page(WEB, NODE, 1, "web"), local(1, "web"), *marks(1)],
    [program(2, PEERS), page(PEERS, OTHER, 2, "a"), *marks(2)],
    [page(PEERS, OTHER, 3, "a", "b"), page(PEERS, NODE, 3, "c"), local(3, "c", "web"), *marks(3)],
    [program(4, MORE), page(MORE, OTHER, 4, "b"), gone(subjects.page(PEERS, OTHER), 4), *marks(4)],
    [program(5, PEERS, MORE), page(PEERS, OTHER, 5, "z"), *marks(5)],
]


class Streams:
    """What is stored, and a reader of it as the bus has one: live values, snapshots of new patterns."""

    def __init__(self) -> None:
        self.stored: dict[str, Told] = {}
        self.view = View(NODE, "ovs")
        self.read = set[str]()

    def store(self, event: Told) -> None:
        self.stored[event[0]] = event
        if any(matches(pattern, event[0]) for pattern in self.read):
            self.view.take(*event, 0.0)
        self.read_on()

    def read_on(self) -> None:
        while any(interests := self.view.interests()):
            self.read = self.read - interests.drop | interests.add
            for pattern in interests.add:
                for held in [held for held in self.stored.values() if matches(pattern, held[0]) and held[1]]:
                    self.view.take(*held, 0.0)
            self.view.answered(interests.add)


def matches(pattern: str, subject: str) -> bool:
    tokens = zip(pattern.split("."), subject.split("."), strict=False)
    return pattern.count(".") == subject.count(".") and all(p in ("*", s) for p, s in tokens)


def applied(batches: list[list[Told]], steps: Iterable[bool]) -> dict[object, object]:
    """What the backend holds after the batches, with a step after those that `steps` names."""
    streams, held = Streams(), dict[object, object]()
    for batch, stepping in zip(batches, steps, strict=True):
        for event in batch:
            streams.store(event)
        if stepping and (step := streams.view.step(0.0)):
            held.update(step.pages)
            held.update(step.programs)
            held.update({"local": step.local} if step.local else {})
            streams.read_on()
    return {key: value for key, value in held.items() if value is not None}


@given(st.integers(min_value=0), st.lists(st.booleans(), min_size=len(HISTORY) - 1, max_size=len(HISTORY) - 1))
def test_how_changes_are_cut_into_steps_does_not_matter(seed, steps):
    """Law 1: within a batch any order that keeps marks last, any batches squashed: the same is applied in the end."""
    random = Random(seed)
    batches = []
    for batch in HISTORY:
        values = [event for event in batch if "_mark" not in event[0]]
        random.shuffle(values)
        batches.append(values + [event for event in batch if "_mark" in event[0]])

    assert applied(batches, [*steps, True]) == applied(HISTORY, [True] * len(HISTORY))


def test_programs_of_services_come_in_steps_as_others_do():
    view = View(NODE, "ovs")
    for pattern in view.interests().add:
        view.answered([pattern])
    ref = ServiceRef(namespace="y", name="web")
    unit, held = subjects.unit(Kind.SERVICE, "y", "web"), subjects.unit(Kind.ENDPOINT_SLICE, "y", "web-1")
    served = ServiceProgram(
        unit=unit, applied_to=ALL_NODES, cause=Revision(1, 5), service=ref, addresses=(Address("10.96.0.1"),), ports=()
    )
    one = EndpointsProgram(unit=held, applied_to=ALL_NODES, cause=Revision(1, 6), service=ref, ports=(), endpoints=())
    for subject, value, at in (
        (subjects.program("ovs", ALL_NODES, unit), served, 5),
        (subjects.program("ovs", ALL_NODES, held), one, 6),
        (subjects.group_mark(0), Mark(shard=0, shards=1, upto=Revision(1, 5)), 5),
        (subjects.program_mark("ovs", 0), Mark(shard=0, shards=1, upto=Revision(1, 6)), 6),
    ):
        view.take(subject, codec.encode(value), Revision(1, at), 0.0)

    step = view.step(0.0)
    assert step is not None
    assert (step.programs, step.serving) == ({}, {unit: served})

    view.take(subjects.program("ovs", ALL_NODES, unit), b"", Revision(1, 7), 0.0)
    for subject in (subjects.group_mark(0), subjects.program_mark("ovs", 0)):
        view.take(subject, codec.encode(Mark(shard=0, shards=1, upto=Revision(1, 7))), Revision(1, 7), 0.0)
    step = view.step(0.0)
    assert step is not None
    assert step.serving == {held: one, unit: None}
