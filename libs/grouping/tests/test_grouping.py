"""Who is a member, and what a change touches."""

from typing import NamedTuple

import pytest

from sluice.contracts.groups import NamedPort
from sluice.contracts.ids import Address, GroupId, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Namespace, Pod
from sluice.grouping.addresses import Conflict
from sluice.grouping.changes import Changes
from sluice.grouping.index import Grouping
from sluice.grouping.selectors import GroupSelector, Selector, SelectorTerm, normalise, union
from sluice.testkit.builders import namespace, pod, selector

G = GroupId("g")
NODE_1, NODE_2 = NodeName("node-1"), NodeName("node-2")
WEB = normalise(selector(app="web"))
DB = normalise(selector(app="db"))
PROD = normalise(selector(env="prod"))
TEST = normalise(selector(env="test"))
PROD_OR_TEST = normalise(selector(("env", "In", ["prod", "test"])))


def in_x(pods: Selector = WEB) -> GroupSelector:
    return union([SelectorTerm(namespace="x", pod_selector=pods)])


def in_namespaces(namespaces: Selector = PROD, pods: Selector = WEB) -> GroupSelector:
    return union([SelectorTerm(namespace_selector=namespaces, pod_selector=pods)])


def grouping(*objects: Namespace | Pod, **groups: GroupSelector) -> Grouping:
    made = Grouping()
    for group, wanted in groups.items():
        made.select(GroupId(group), wanted)
    for obj in objects:
        made.put(obj)
    return made


def names(of: Grouping, group: str = "g", node: NodeName = NODE_1) -> list[str]:
    return [member.pod for member in of.members(GroupId(group), node)]


class Case(NamedTuple):
    name: str
    selector: GroupSelector
    objects: list[Namespace | Pod]
    members: list[str]


CASES = [
    Case("nobody yet", in_x(), [], []),
    Case("a Pod with the label", in_x(), [pod("x/a", ip="10.0.0.1", app="web")], ["x/a"]),
    Case("a Pod without it", in_x(), [pod("x/a", ip="10.0.0.1", app="db"), pod("x/b")], []),
    Case("a Pod in another Namespace", in_x(), [pod("y/a", app="web")], []),
    Case("all Pods of a Namespace", in_x(()), [pod("x/b"), pod("x/a", app="web"), pod("y/a")], ["x/a", "x/b"]),
    Case("one without an address is a member", in_x(), [pod("x/a", app="web")], ["x/a"]),
    Case("one that is not scheduled is none", in_x(), [pod("x/a", ip="10.0.0.1", node="", app="web")], []),
    Case("one in the host's network is none", in_x(), [pod("x/a", host_network=True, app="web")], []),
    Case("one that succeeded is none", in_x(), [pod("x/a", phase="Succeeded", app="web")], []),
    Case("one that failed is none", in_x(), [pod("x/a", phase="Failed", app="web")], []),
    Case("one that is pending is a member", in_x(), [pod("x/a", phase="Pending", app="web")], ["x/a"]),
    Case("one of unknown state is a member", in_x(), [pod("x/a", phase="Unknown", app="web")], ["x/a"]),
    Case("a Pod elsewhere is on another page", in_x(), [pod("x/a", node="node-2", app="web")], []),
    Case("a Namespace need not be known to be named", in_x(), [pod("x/a", app="web")], ["x/a"]),
    Case(
        "Namespaces with a label",
        in_namespaces(),
        [namespace("x", env="prod"), namespace("y", env="test"), pod("x/a", app="web"), pod("y/a", app="web")],
        ["x/a"],
    ),
    Case("an unknown Namespace has no labels", in_namespaces(), [pod("x/a", app="web")], []),
    Case("all Namespaces are all that are known", in_namespaces(()), [namespace("y"), pod("x/a", app="web")], []),
    Case("all known Namespaces", in_namespaces((), ()), [namespace("x"), pod("x/a"), pod("y/a")], ["x/a"]),
    Case(
        "anywhere is in unknown ones too",
        union([SelectorTerm(pod_selector=WEB)]),
        [namespace("x"), pod("x/a", app="web"), pod("y/a", app="web"), pod("y/b")],
        ["x/a", "y/a"],
    ),
    Case(
        "a union",
        union([SelectorTerm(namespace="x", pod_selector=WEB), SelectorTerm(namespace_selector=PROD)]),
        [namespace("x", env="prod"), namespace("y", env="prod"), pod("x/a", app="web"), pod("y/a"), pod("z/a")],
        ["x/a", "y/a"],
    ),
    Case(
        "a union about one Namespace",
        union([SelectorTerm(namespace="x", pod_selector=WEB), SelectorTerm(namespace="x", pod_selector=DB)]),
        [pod("x/a", app="web"), pod("x/b", app="db"), pod("x/c", app="mq"), pod("x/d")],
        ["x/a", "x/b"],
    ),
    Case(
        "a union about Namespaces with labels",
        union([SelectorTerm(namespace_selector=PROD), SelectorTerm(namespace_selector=TEST, pod_selector=WEB)]),
        [
            namespace("x", env="prod"),
            namespace("y", env="test"),
            namespace("z", env="other"),
            *(pod(f"{of}/{name}", app=app) for of in "xyz" for name, app in (("a", "web"), ("b", "db"))),
        ],
        ["x/a", "x/b", "y/a"],
    ),
    Case(
        "a union about Pods anywhere",
        union([SelectorTerm(pod_selector=WEB), SelectorTerm(pod_selector=DB)]),
        [pod("x/a", app="web"), pod("y/a", app="db"), pod("z/a", app="mq")],
        ["x/a", "y/a"],
    ),
    Case("a union of nothing", union([]), [pod("x/a", app="web")], []),
    Case(
        "only a requirement that is no anchor",
        in_x(normalise(selector(("app", "NotIn", ["db"])))),
        [pod("x/a", app="web"), pod("x/b", app="db"), pod("x/c")],
        ["x/a", "x/c"],
    ),
    Case(
        "an anchor and a rest",
        in_x(normalise(selector(("tier", "DoesNotExist"), ("app", "In", ["web", "db"])))),
        [pod("x/a", app="web"), pod("x/b", app="db", tier="1"), pod("x/c", app="db"), pod("x/d", app="mq")],
        ["x/a", "x/c"],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_members(case: Case) -> None:
    selected_first = grouping(*case.objects, g=case.selector)
    selected_last = grouping(*case.objects)
    selected_last.select(G, case.selector)
    backwards = grouping(*reversed(case.objects), g=case.selector)

    assert names(selected_first) == names(selected_last) == names(backwards) == case.members


@pytest.mark.parametrize(
    "wanted",
    [
        in_x(DB),
        in_namespaces(TEST, ()),
        in_namespaces(TEST, DB),
        in_namespaces((), DB),
        union([SelectorTerm(pod_selector=DB)]),
    ],
)
def test_a_selector_finds_what_came_since_an_earlier_one(wanted: GroupSelector) -> None:
    """Shelves that an earlier selector put up hold what came later, and what changed."""
    made = grouping(namespace("x", env="prod"), pod("x/a", app="web"), early=in_x(), wide=in_namespaces())
    made.put(namespace("x", env="test"))
    made.put(pod("x/b", app="db"))

    made.select(G, wanted)

    assert "x/b" in names(made)


def test_a_page_holds_what_a_node_needs_to_know() -> None:
    made = grouping(
        pod("x/a", ip=["10.0.0.1", "fd00::1"], ports=[("web", 80), 9090, ("dns", 53, "UDP")], app="web"), g=in_x()
    )

    (member,) = made.members(G, NODE_1)

    assert (member.pod, member.uid, member.addresses) == ("x/a", "uid-x-a", ("10.0.0.1", "fd00::1"))
    assert member.ports == (
        NamedPort(name="dns", protocol="UDP", port=53),
        NamedPort(name="web", protocol="TCP", port=80),
    )
    assert made.pods_on(NODE_1) == (member,)


def test_members_of_a_small_group_on_a_full_node_and_of_a_large_one_on_an_empty_node() -> None:
    crowd = [
        pod(f"x/p{number}", node="node-1" if number < 9 else "node-2", app=f"a{number % 5}") for number in range(10)
    ]

    made = grouping(*crowd, small=in_x(normalise(selector(app="a4"))), large=in_x(()))

    assert names(made, "small", NODE_1) == ["x/p4"]
    assert names(made, "small", NODE_2) == names(made, "large", NODE_2) == ["x/p9"]
    assert made.nodes(GroupId("small")) == (NODE_1, NODE_2)


def test_who_is_where() -> None:
    made = grouping(pod("x/a", app="web"), pod("x/b", node="node-2"), web=in_x(), all=in_x(()), none=in_x(PROD))

    assert made.nodes(GroupId("web")) == (NODE_1,)
    assert made.nodes(GroupId("all")) == (NODE_1, NODE_2)
    assert made.nodes(GroupId("none")) == made.nodes(GroupId("unheard-of")) == ()
    assert made.groups_on(NODE_1) == ("all", "web")
    assert made.groups_on(NODE_2) == ("all",)
    assert made.groups_on(NodeName("node-3")) == ()


# ------------------------------------------------------------------------------------------------------------- changes

A = pod("x/a", ip="10.0.0.1", app="web")
NOTHING_CHANGED = Changes({}, set(), set())


class Touch(NamedTuple):
    name: str
    change: Namespace | Pod | str
    """A Pod's name: it is deleted."""

    expected: Changes


TOUCHES = [
    Touch("the same again touches nothing", A, NOTHING_CHANGED),
    Touch("another address", pod("x/a", ip="10.0.0.2", app="web"), Changes({G: {NODE_1}}, set(), {NODE_1})),
    Touch("another uid", pod("x/a", ip="10.0.0.1", uid="new", app="web"), Changes({G: {NODE_1}}, set(), {NODE_1})),
    Touch(
        "another port", pod("x/a", ip="10.0.0.1", ports=[("w", 1)], app="web"), Changes({G: {NODE_1}}, set(), {NODE_1})
    ),
    Touch("a port without a name", pod("x/a", ip="10.0.0.1", ports=[1], app="web"), NOTHING_CHANGED),
    Touch(
        "another node",
        pod("x/a", ip="10.0.0.1", node="node-2", app="web"),
        Changes({G: {NODE_1, NODE_2}}, {NODE_1, NODE_2}, {NODE_1, NODE_2}),
    ),
    Touch("it leaves the group", pod("x/a", ip="10.0.0.1"), Changes({G: {NODE_1}}, {NODE_1}, {NODE_1})),
    Touch(
        "a label that no selector reads",
        pod("x/a", ip="10.0.0.1", app="web", v="2"),
        Changes({G: {NODE_1}}, {NODE_1}, {NODE_1}),
    ),
    Touch("it ends", pod("x/a", ip="10.0.0.1", phase="Failed", app="web"), Changes({G: {NODE_1}}, {NODE_1}, {NODE_1})),
    Touch("it is deleted", "a", Changes({G: {NODE_1}}, {NODE_1}, {NODE_1})),
    Touch("nobody is deleted", "unheard-of", NOTHING_CHANGED),
    Touch("another Pod in no group", pod("x/z"), Changes({}, {NODE_1}, {NODE_1})),
    Touch("a Pod of no network", pod("x/z", node=""), NOTHING_CHANGED),
    Touch("a Namespace that no selector reads", namespace("x", env="prod"), NOTHING_CHANGED),
]


@pytest.mark.parametrize("case", TOUCHES, ids=lambda case: case.name)
def test_a_change_touches_what_it_changes(case: Touch) -> None:
    made = grouping(namespace("x"), A, g=in_x())
    made.drain()

    changed = made.delete(Kind.POD, "x", case.change) if isinstance(case.change, str) else made.put(case.change)

    assert made.drain() == case.expected
    assert made.drain() == NOTHING_CHANGED
    assert changed or case.expected == NOTHING_CHANGED


def test_a_namespace_that_changes_its_labels_moves_its_pods() -> None:
    made = grouping(namespace("x", env="prod"), A, pod("y/a", app="web"), g=in_namespaces())
    made.drain()

    assert made.put(namespace("x", env="test"))
    assert (made.drain(), names(made)) == (Changes({G: {NODE_1}}, {NODE_1}, set()), [])

    assert made.put(namespace("x", env="prod"))
    assert (made.drain(), names(made)) == (Changes({G: {NODE_1}}, {NODE_1}, set()), ["x/a"])

    assert made.delete(Kind.NAMESPACE, "", "x")
    assert (made.drain(), names(made)) == (Changes({G: {NODE_1}}, {NODE_1}, set()), [])
    assert not made.delete(Kind.NAMESPACE, "", "x")


def test_selecting_and_releasing_touches_the_pages_of_the_group() -> None:
    made = grouping(A, pod("x/b", node="node-2"))
    made.drain()

    made.select(G, in_x())
    assert (made.drain(), names(made)) == (Changes({G: {NODE_1}}, {NODE_1}, set()), ["x/a"])

    made.select(G, in_x())
    assert made.drain() == NOTHING_CHANGED

    made.release(G)
    assert (made.drain(), names(made), made.groups_on(NODE_1)) == (Changes({G: {NODE_1}}, {NODE_1}, set()), [], ())

    made.release(G)
    assert made.drain() == NOTHING_CHANGED


OVERLAPPING = union(SelectorTerm(namespace_selector=one, pod_selector=WEB) for one in (PROD, PROD_OR_TEST))
"""Two terms that stand in one place."""


@pytest.mark.parametrize(
    "wanted", [in_x(), in_namespaces(), in_namespaces((), ()), union([SelectorTerm()]), OVERLAPPING]
)
def test_nothing_is_left_of_what_went(wanted: GroupSelector) -> None:
    made = grouping(namespace("x", env="prod"), A, g=wanted)

    made.delete(Kind.POD, "x", "a")
    made.release(G)
    made.delete(Kind.NAMESPACE, "", "x")

    matching = made._matching
    assert not any((matching.groups, matching._spaces, matching._wide))
    assert not any((made._pods, made._on_nodes._placed, made._on_nodes._aside, made._claims._holders))
    assert not any((matching._space_shelf, matching._label_shelf))


# ----------------------------------------------------------------------------------------------------------- addresses

EARLY, LATE = "2024-05-01T10:00:00Z", "2024-05-01T11:00:00Z"
LATE_ELSEWHERE = "2024-05-01T05:00:01-06:00"  # a second after LATE


class Claim(NamedTuple):
    name: str
    pods: list[Pod]
    holder: str
    others: tuple[str, ...]


def claimant(name: str, created: str = "", uid: str = "u") -> Pod:
    return pod(f"x/{name}", ip="10.0.0.1", created=created, uid=uid, app="web")


CLAIMS = [
    Claim("the later created has it", [claimant("a", EARLY), claimant("b", LATE)], "x/b", ("x/a",)),
    Claim("whatever its name", [claimant("a", LATE), claimant("b", EARLY)], "x/a", ("x/b",)),
    Claim("time is time anywhere", [claimant("a", LATE), claimant("b", LATE_ELSEWHERE)], "x/b", ("x/a",)),
    Claim("the greater uid of two", [claimant("a", LATE, "u2"), claimant("b", LATE, "u1")], "x/a", ("x/b",)),
    Claim("a time beats none", [claimant("a", EARLY, "u1"), claimant("b", "", "u2")], "x/a", ("x/b",)),
    Claim("a time beats nonsense", [claimant("a", EARLY, "u1"), claimant("b", "soon", "u2")], "x/a", ("x/b",)),
    Claim("of three", [claimant("a", EARLY), claimant("b", LATE), claimant("c")], "x/b", ("x/a", "x/c")),
]


@pytest.mark.parametrize("case", CLAIMS, ids=lambda case: case.name)
def test_of_two_pods_with_one_address_one_has_it(case: Claim) -> None:
    for pods in (case.pods, case.pods[::-1]):
        made = grouping(*pods, g=in_x())
        addresses = {member.pod: member.addresses for member in made.members(G, NODE_1)}

        assert addresses == {case.holder: ("10.0.0.1",)} | dict.fromkeys(case.others, ())
        assert made.conflicts() == (Conflict(Address("10.0.0.1"), case.holder, case.others),)


def test_the_address_goes_back_when_its_holder_leaves() -> None:
    made = grouping(
        pod("x/a", ip=["10.0.0.1", "fd00::1"], created=EARLY, app="web"),
        pod("x/b", ip="10.0.0.1", created=LATE, node="node-2", app="web"),
        g=in_x(),
    )
    assert [member.addresses for member in made.members(G, NODE_1)] == [("fd00::1",)]
    made.drain()

    made.put(pod("x/b", ip="10.0.0.1", created=LATE, node="node-2", phase="Succeeded", app="web"))

    assert [member.addresses for member in made.members(G, NODE_1)] == [("10.0.0.1", "fd00::1")]
    assert made.drain() == Changes({G: {NODE_1, NODE_2}}, {NODE_2}, {NODE_1, NODE_2})
    assert made.conflicts() == ()


# -------------------------------------------------------------------------------------------------------------- events


def test_late_news_is_absorbed() -> None:
    made = grouping(g=in_x())

    assert made.put(A, Revision(1, 5))
    assert not made.put(pod("x/a", ip="10.0.0.9", app="web"), Revision(1, 4))
    assert not made.delete(Kind.POD, "x", "a", Revision(1, 5))
    assert names(made) == ["x/a"]

    assert made.delete(Kind.POD, "x", "a", Revision(1, 6))
    assert not made.put(A, Revision(1, 5))
    assert made.put(A, Revision(2, 1))
    assert names(made) == ["x/a"]


def test_settling_forgets_the_past_and_not_its_lesson() -> None:
    made = grouping(g=in_x())
    made.put(A, Revision(1, 1))
    made.delete(Kind.POD, "x", "a", Revision(1, 2))
    made.settle(Revision(1, 2))

    assert made._newest._at == {}
    assert not made.put(A, Revision(1, 1))
    assert made.put(A, Revision(1, 3))
