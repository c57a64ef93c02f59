"""Laws 1 and 2 for groups, and that what changes is told."""

from typing import NamedTuple, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.groups import Member
from sluice.contracts.ids import GroupId, NodeName
from sluice.contracts.objects import Namespace, Node, Pod
from sluice.grouping.addresses import Conflict
from sluice.grouping.attachments import interfaces_of
from sluice.grouping.events import ObjectEvent
from sluice.grouping.index import Grouping, Known
from sluice.grouping.members import labels_of, member_of_node, of_account
from sluice.grouping.selectors import (
    GroupSelector,
    SelectorTerm,
    normalise,
    selects,
    selects_node,
    union,
    union_of_nodes,
)
from sluice.testkit import secondary
from sluice.testkit.examples import share
from sluice.testkit.expanders import expand, outcome
from sluice.testkit.strategies import NAMESPACES, NODES, label_selectors, stories

terms = st.one_of(
    st.builds(SelectorTerm, namespace=st.sampled_from(NAMESPACES), pod_selector=label_selectors.map(normalise)),
    st.builds(
        SelectorTerm,
        namespace=st.sampled_from(("", "x")),
        namespace_selector=st.one_of(st.none(), label_selectors.map(normalise)),
        pod_selector=label_selectors.map(normalise),
    ),
    st.builds(SelectorTerm, namespace=st.sampled_from(NAMESPACES), pod_selector=st.just((of_account("robot"),))),
    st.builds(SelectorTerm, namespace=st.sampled_from(NAMESPACES), pod_selector=st.just((of_account("default"),))),
)
_networks = st.one_of(st.just(()), st.permutations(secondary.NETWORKS).map(lambda all_: tuple(all_[:2])))
selectors = st.builds(
    lambda terms, networks: replace(union(terms), networks=networks), st.lists(terms, max_size=3), _networks
)
node_groups = st.lists(label_selectors.map(normalise), min_size=1, max_size=2).map(union_of_nodes)
groups = st.lists(st.one_of(selectors, selectors, node_groups), min_size=1, max_size=6).map(
    lambda selectors: {GroupId(f"g{number}"): selector for number, selector in enumerate(selectors)}
)
histories = stories(more=secondary.objects, more_keys=secondary.keys)
Story = list[ObjectEvent]
Selectors = dict[GroupId, GroupSelector]


K = TypeVar("K")
V = TypeVar("V")


class Everything(NamedTuple):
    """All that a Grouping can be asked."""

    pages: dict[tuple[GroupId, NodeName], tuple[Member, ...]]
    owns: dict[NodeName, tuple[GroupId, ...]]
    locals: dict[NodeName, tuple[Member, ...]]
    interfaces: dict[NodeName, tuple[Member, ...]]
    nodes: dict[GroupId, tuple[NodeName, ...]]
    conflicts: tuple[Conflict, ...]


def everything(of: Grouping, selectors: Selectors) -> Everything:
    nodes = [NodeName(node) for node in NODES]
    return Everything(
        {(group, node): members for group in selectors for node in nodes if (members := of.members(group, node))},
        {node: owned for node in nodes if (owned := of.groups_on(node))},
        {node: pods for node in nodes if (pods := of.pods_on(node))},
        {node: interfaces for node in nodes if (interfaces := of.interfaces_on(node))},
        {group: of.nodes(group) for group in selectors},
        of.conflicts(),
    )


def told(events: Story, selectors: Selectors) -> Grouping:
    made = Grouping()
    for group, selector in selectors.items():
        made.select(group, selector)
    for event in events:
        made.evolve(event)
    return made


def from_scratch(events: Story, selectors: Selectors) -> Everything:
    """The end of the story told to a new fold, the selectors last."""
    made = Grouping()
    for event in outcome(events).values():
        if isinstance(event.object, Known):
            made.put(event.object)
    for group, selector in selectors.items():
        made.select(group, selector)
    return everything(made, selectors)


@given(histories, groups, st.integers(0, 99))
def test_order_and_repeats_do_not_matter(events: Story, selectors: Selectors, seed: int) -> None:
    expected = everything(told(events, selectors), selectors)

    for name, expansion in expand(events, seed=seed):
        assert everything(told(expansion, selectors), selectors) == expected, name


@given(histories, groups)
def test_incremental_equals_recomputed_after_every_step(events: Story, selectors: Selectors) -> None:
    made = told([], selectors)

    for number, event in enumerate(events, start=1):
        made.evolve(event)
        assert everything(made, selectors) == from_scratch(events[:number], selectors)


@given(histories, groups, st.data())
def test_a_reader_who_asks_only_for_what_was_touched_misses_nothing(
    events: Story, selectors: Selectors, data: st.DataObject
) -> None:
    made = Grouping()
    held = Everything({}, {}, {}, {}, {}, ())
    wanted: Selectors = {}

    for number, event in enumerate(events, start=1):
        group = data.draw(st.sampled_from(sorted(selectors)))
        if group in wanted:
            del wanted[group]
            made.release(group)
        else:
            wanted[group] = selectors[group]
            made.select(group, selectors[group])
        changed = made.evolve(event)
        changes = made.drain()
        assert changed or not changes.locals
        for touched, nodes in changes.pages.items():
            for node, members in made.pages(touched, nodes):
                _keep(held.pages, (touched, node), members)
        for node in changes.owns:
            _keep(held.owns, node, made.groups_on(node))
        for node in changes.locals:
            _keep(held.locals, node, made.pods_on(node))
            _keep(held.interfaces, node, made.interfaces_on(node))

        assert everything(made, wanted) == from_scratch(events[:number], wanted)
        assert held[:4] == everything(made, wanted)[:4]


def _keep(held: dict[K, tuple[V, ...]], key: K, value: tuple[V, ...]) -> None:
    held.pop(key, None)
    if value:
        held[key] = value


@given(histories, groups, st.sets(st.sampled_from([NodeName(node) for node in NODES])))
def test_pages_looked_at_together_are_those_looked_at_one_by_one(
    events: Story, selectors: Selectors, nodes: set[NodeName]
) -> None:
    made = told(events, selectors)

    for group in (*selectors, GroupId("nobody's")):
        assert made.pages(group, nodes) == [(node, made.members(group, node)) for node in sorted(nodes)]


@given(histories, groups, st.sets(st.sampled_from([NodeName(node) for node in NODES])), st.booleans())
def test_who_tells_of_some_nodes_alone_knows_the_rest_of_the_others(
    events: Story, selectors: Selectors, told_of: set[NodeName], selected_first: bool
) -> None:
    whole = everything(told(events, selectors), selectors)
    made = Grouping(told_of.__contains__)
    before, after = (selectors, {}) if selected_first else ({}, selectors)

    for group, selector in before.items():
        made.select(group, selector)
    for event in events:
        made.evolve(event)
    for group, selector in after.items():
        made.select(group, selector)

    found = everything(made, selectors)
    assert found._replace(locals={}) == whole._replace(locals={})
    assert {node: pods for node, pods in found.locals.items() if node in told_of} == {
        node: pods for node, pods in whole.locals.items() if node in told_of
    }


@share(30)
@given(histories, groups, st.integers(0, 5))
def test_nobody_misses_what_others_let_go(events: Story, selectors: Selectors, kept: int) -> None:
    """Those that are kept have the members that they have alone."""
    made = told(events, selectors)
    staying = dict(list(selectors.items())[:kept])

    for group in selectors.keys() - staying.keys():
        made.release(group)

    assert everything(made, selectors) == everything(told(events, staying), selectors)


def _selves(pod: Pod, networks: tuple[str, ...]) -> list[object]:
    """What the Pod can be a member as: itself, or its interfaces on these networks."""
    return [one for one in interfaces_of(pod) if one.attachment.network in networks] if networks else [pod]


@given(histories, groups)
def test_the_index_finds_what_asking_one_by_one_finds(events: Story, selectors: Selectors) -> None:
    made = told(events, selectors)
    objects = [event.object for event in outcome(events).values()]
    labels = {obj.metadata.name: obj.metadata.labels for obj in objects if isinstance(obj, Namespace)}
    pods = [obj for obj in objects if isinstance(obj, Pod) and obj.on_pod_network]
    nodes = [obj for obj in objects if isinstance(obj, Node)]

    for group, selector in selectors.items():
        expected = [
            "/".join(pod.key)
            for pod in pods
            for _ in _selves(pod, selector.networks)
            if any(
                selects(term, pod.metadata.namespace, labels.get(pod.metadata.namespace), labels_of(pod))
                for term in selector.terms
            )
        ]
        expected += [node.metadata.name for node in nodes if selects_node(selector, node.metadata.labels)]
        found = [member.pod for node in made.nodes(group) for member in made.members(group, node)]
        assert sorted(found) == sorted(expected)


@given(stories(), node_groups)
def test_a_member_that_is_a_node_has_the_addresses_of_the_node(events: Story, selector: GroupSelector) -> None:
    group = GroupId("g")
    made = told(events, {group: selector})

    for event in outcome(events).values():
        if isinstance(event.object, Node) and (members := made.members(group, NodeName(event.object.metadata.name))):
            assert members == (member_of_node(event.object),)
