"""The fold of group-resolver: incremental equals recomputed, and shards divide it without a rest."""

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Local, Own, Page
from sluice.contracts.ids import NEVER, GroupId, NodeName, Revision
from sluice.contracts.shards import shard_of
from sluice.grouping.events import ObjectEvent
from sluice.services.group_resolver.derived import KINDS, ShardGroups
from sluice.testkit.builders import multi, namespace, netpol, network, pod
from sluice.testkit.expanders import story
from sluice.testkit.strategies import stories

CAUSE = Revision(1, 99)


class Applied:
    """What a stream holds that stores all that a fold says."""

    def __init__(self, fold: ShardGroups) -> None:
        self.fold = fold
        self.held: dict[str, bytes] = {}

    def take(self, events: list[ObjectEvent]) -> None:
        self.fold.evolve(events, events[-1].revision if events else NEVER)
        changes = self.fold.drain()
        for group, nodes in changes.pages.items():
            for node, page in self.fold.pages(group, nodes, CAUSE):
                self._put(subjects.page(group, node), page)
        for node in changes.owns:
            own = self.fold.own(node, CAUSE)
            self._put(f"own {node}", own)
        for node in changes.locals:
            self._put(subjects.local(node), self.fold.local(node, CAUSE))

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


@given(stories())
def test_shards_divide_it_without_a_rest(events):
    whole = Applied(ShardGroups(0, 1))
    whole.take(events)
    parts = [Applied(ShardGroups(shard, 3)) for shard in range(3)]
    for part in parts:
        part.take(events)

    pages = [{subject: body for subject, body in part.held.items() if "own" not in subject} for part in parts]
    assert sum(map(len, pages)) == len({subject for page in pages for subject in page})
    assert {k: v for page in pages for k, v in page.items()} == {k: v for k, v in whole.held.items() if "own" not in k}


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
    names = [GroupId(f"{number:032x}") for number in range(50)]
    taken = ShardGroups(1, 3)
    stale = taken.stale([subjects.page(name, NodeName("n")) for name in names] + [subjects.own(NodeName("n"), 0)], ())

    assert stale.pages == {name: {"n"} for name in names if shard_of(name, 3) == 1}
    assert stale.owns == set()


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
