"""The fold of group-resolver: incremental equals recomputed, and shards divide it without a rest."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Local, Own, Page
from sluice.contracts.ids import NEVER, GroupId, NodeName, Revision
from sluice.contracts.shards import place_of, shard_of_group
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent
from sluice.services.group_resolver.concern import Concern
from sluice.services.group_resolver.derived import KINDS, ShardGroups
from sluice.testkit import secondary
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import multi, namespace, netpol, network, pod
from sluice.testkit.expanders import expand, story
from sluice.testkit.strategies import stories

CAUSE = Revision(1, 99)


class Applied:
    """What a stream holds that stores all that a fold says."""

    def __init__(self, fold: ShardGroups) -> None:
        self.fold = fold
        self.held: dict[str, bytes] = {}

    def take(self, events: list[ObjectEvent], bystanders: Sequence[Bystander] = (), *, in_order: bool = True) -> None:
        newest = max([NEVER, *(event.revision for event in events), *(one.revision for one in bystanders)])
        self.fold.evolve(events, newest if in_order else NEVER, bystanders)
        changes = self.fold.drain()
        for group, nodes in changes.pages.items():
            for node, page in self.fold.pages(group, nodes, CAUSE):
                self._put(subjects.page(group, node), page)
        for node in changes.owns:
            own = self.fold.own(node, CAUSE)
            self._put(f"own {node}", own)
        for node in changes.locals:
            self._put(subjects.local(node), self.fold.local(node, CAUSE))
        for node in changes.routes:
            self._put(subjects.route(node), self.fold.route(node, CAUSE))

    def _put(self, subject: str, value: object) -> None:
        self.held.pop(subject, None)
        if value is not None:
            self.held[subject] = codec.encode(value)


@given(stories(), st.sampled_from([1, 3]), st.integers(1, 5))
def test_incremental_equals_recomputed(events, shards, batch):
    for shard in range(shards):
        stepwise, at_once = Applied(ShardGroups(shard, shards)), Applied(ShardGroups(shard, shards))
        for start in range(0, len(events), batch):
            stepwise.take(events[start : start + batch])
        at_once.take(events)

        assert stepwise.held == at_once.held


def test_interfaces_on_secondary_networks_are_members_and_know_their_network_when_it_is_told():
    """12: a definition that comes late, or changes, is told like any other change."""
    held = Applied(ShardGroups(0, 1))
    policy, a = multi("x/mnp", about="net"), pod("x/a", node="node-1", nets=["net=10.1.0.1/via/eth3"])
    trunk = network("x/net", trunk=[{"id": 7}])
    events = story(namespace("x"), policy, a, network("x/net"), trunk)

    seen = []
    for event in events:
        held.take([event])
        pages = [
            codec.decode(body, Page) for body in held.held.values() if b'"group":' in body and b'"members"' in body
        ]
        seen.append([(one.attachment.plugin, one.attachment.tagged) for page in pages for one in page.members])

    assert seen == [[], [], [("", False)], [("accelerated-bridge", False)], [("accelerated-bridge", True)]]
    assert {event.key.kind for event in events} <= KINDS


def test_a_nodes_own_list_has_its_pods_interfaces_whether_policed_or_not():
    held = Applied(ShardGroups(0, 1))
    a, elsewhere = pod("x/a", nets=["net=10.1.0.1/via/eth3"]), pod("x/b", node="node-2", ip="10.0.0.2")
    plugged = pod("x/a", nets=["net=10.1.0.1/via/eth3", "net=10.1.0.2/via/eth4"])

    seen, told = [], []
    for event in story(namespace("x"), elsewhere, network("x/net"), a, plugged, pod("x/a")):
        before = dict(held.held)
        held.take([event])
        told.append({subject for subject, body in held.held.items() if before.get(subject) != body})
        local = held.held.get(subjects.local(NodeName("node-1")))
        interfaces = codec.decode(local, Local).interfaces if local else None
        seen.append(interfaces and [(one.pod, one.attachment.representor, one.attachment.plugin) for one in interfaces])

    eth3, eth4 = (("x/a", name, "accelerated-bridge") for name in ("eth3", "eth4"))
    assert seen == [None, None, None, [eth3], [eth3, eth4], ()]
    assert all(subjects_ == {subjects.local(NodeName("node-1"))} for subjects_ in told[3:])


WORLDS = st.one_of(antrea_stories(), stories(more=secondary.objects, more_keys=secondary.keys))
"""Groups of one Namespace, of several, of nodes and of interfaces; Pods that claim one address wherever they are."""


def _of_all(parts: list[Applied]) -> dict[str, object]:
    """What shards hold together; nothing is held by two of them, but lists of one node, each with its own groups."""
    held: dict[str, object] = {}
    owns: dict[str, list[GroupId]] = {}
    for part in parts:
        for subject, body in part.held.items():
            if subject.startswith("own "):
                owns.setdefault(subject, []).extend(codec.decode(body, Own).groups)
            else:
                assert subject not in held
                held[subject] = body
    return held | {subject: sorted(groups) for subject, groups in owns.items()}


@given(WORLDS, st.integers(2, 3), st.integers(1, 5), st.integers(0, 99))
def test_shards_divide_it_without_a_rest_in_whatever_order_they_are_told(events, shards, batch, seed):
    whole = Applied(ShardGroups(0, 1))
    whole.take(events)
    expected = _of_all([whole])

    for name, expansion in (("as told", events), *expand(events, seed=seed)):
        parts = [Applied(ShardGroups(shard, shards)) for shard in range(shards)]
        for part in parts:
            for start in range(0, len(expansion), batch):
                part.take(expansion[start : start + batch], in_order=False)
        assert _of_all(parts) == expected, name


@given(WORLDS, st.integers(1, 5))
def test_shards_hold_together_what_one_holds_after_every_batch_though_each_is_told_what_concerns_it(events, batch):
    whole, parts = Applied(ShardGroups(0, 1)), [Applied(ShardGroups(shard, 2)) for shard in range(2)]
    concerns = [Concern(shard, 2) for shard in range(2)]

    for start in range(0, len(events), batch):
        told = events[start : start + batch]
        whole.take(told)
        for one, concern in zip(parts, concerns, strict=True):
            asked = [_asked(concern, event) for event in told]
            one.take(
                [each for each in asked if isinstance(each, ObjectEvent)],
                [each for each in asked if isinstance(each, Bystander)],
            )
        assert _of_all(parts) == _of_all([whole])


def _asked(concern: Concern, event: ObjectEvent) -> ObjectEvent | Bystander | None:
    body = codec.encode(event.object) if event.object else b""
    return concern.read(event.key, body, event.revision)


WEB = netpol("x/np", {"podSelector": {"matchLabels": {"app": "web"}}})
STORY = story(namespace("x"), WEB, pod("x/a", ip="10.0.0.1", app="web"), pod("x/b", ip="10.0.0.2"))


def fold() -> ShardGroups:
    taken = ShardGroups(0, 1)
    taken.evolve(STORY, STORY[-1].revision)
    taken.drain()
    return taken


def test_what_is_stored_and_not_derived_is_stale():
    (group,) = fold().own(NodeName("node-1"), CAUSE).groups  # type: ignore[union-attr]  # it is there
    stored = [
        subjects.page(group, NodeName("node-1")),
        subjects.page(group, NodeName("node-2")),
        subjects.page(GroupId("f" * 32), NodeName("node-1")),
        subjects.own(NodeName("node-1"), 0),
        subjects.own(NodeName("node-2"), 0),
        subjects.local(NodeName("node-1")),
        subjects.local(NodeName("node-2")),
        subjects.group_mark(0),
    ]
    stale = fold().stale(stored, ())

    assert stale.pages == {group: {"node-2"}, "f" * 32: {"node-1"}}
    assert (stale.owns, stale.locals) == ({"node-2"}, {"node-2"})


def test_of_another_shard_nothing_is_stale():
    names = [GroupId(f"{place_of(str(number))}{number:032x}") for number in range(50)] + [GroupId("of-another-version")]
    taken = ShardGroups(1, 3)
    stale = taken.stale([subjects.page(name, NodeName("n")) for name in names] + [subjects.own(NodeName("n"), 0)], ())

    assert stale.pages == {name: {"n"} for name in names if shard_of_group(name, 3) == 1}
    assert stale.owns == set()
    assert 0 < len(stale.pages) < len(names)


def test_a_shard_has_all_groups_of_a_namespace_and_the_other_does_not_look_into_it():
    """ADR 12. Of two shards the Namespace z is the first's, like the node, and x the second's."""
    spaces, web = ("z", "x"), {"podSelector": {"matchLabels": {"app": "web"}}}
    pods = (pod(f"{name}/a", node="node-1", ip=f"10.0.0.{last}", app="web") for last, name in enumerate(spaces))
    events = story(*map(namespace, spaces), *(netpol(f"{name}/np", web) for name in spaces), *pods)
    folds = [ShardGroups(shard, 2) for shard in range(2)]
    for one in folds:
        one.evolve(events, events[-1].revision)

    for one, space in zip(folds, spaces, strict=True):
        (group,) = one.own(NodeName("node-1"), CAUSE).groups  # type: ignore[union-attr]  # it is there
        assert group.startswith(place_of(space))
        assert list(one._groups.selectors) == [group], "the other's policy is not translated"
        assert list(one._grouping._pods) == [f"{space}/a"], "the other's Pod is set aside"
    local = folds[0].local(NodeName("node-1"), CAUSE)
    assert [member.pod for member in local.pods] == ["x/a", "z/a"]  # type: ignore[union-attr]  # it is there
    assert folds[1].drain().locals == set()


def test_groups_that_are_kept_stay_in_their_lists_until_they_are_let_go():
    taken, node = fold(), NodeName("node-1")
    lost = GroupId("0" * 32)
    (group,) = taken.own(node, CAUSE).groups  # type: ignore[union-attr]  # it is there
    subject = subjects.own(node, 0)
    taken.keep({subject: Own(node=node, shard=0, cause=CAUSE, groups=(lost, group))})

    assert taken.own(node, CAUSE).groups == (lost, group)  # type: ignore[union-attr]  # it is there
    stale = taken.stale([subjects.page(lost, node), subject], ())
    assert (stale.pages, stale.owns) == ({}, set())
    gone = taken.let_go()
    assert gone.pages == {lost: {node}}
    assert gone.owns == {node}
    assert taken.own(node, CAUSE).groups == (group,)  # type: ignore[union-attr]  # it is there
    assert list(taken.pages(lost, [node], CAUSE)) == [(node, None)]
