"""Which objects are in force, given what each file said last."""

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import TYPES
from sluice.services.ingest.catalog import Catalog, Key
from sluice.services.ingest.contents import contents_of, unreadable

A, B, C = (Key(Kind.NAMESPACE, "", name) for name in "abc")


def namespace(name, note="", uid=""):
    labels = f", labels: {{note: '{note}'}}" if note else ""
    return f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, uid: '{uid}'{labels}}}}}\n"


BAD = "---\na: [\n"


class World:
    """A catalog, and a stream that holds what it said."""

    def __init__(self, stored=()):
        self.numbers = itertools.count(1)
        self.catalog = Catalog(dict(stored), lambda: f"made-{next(self.numbers)}")
        self.stream = dict.fromkeys(dict(stored), b"")
        self.everything_seen = True

    def says(self, file, text):
        self.catalog.take(file, contents_of(text.encode(), file))
        return self.drain()

    def goes(self, file):
        self.catalog.drop(file)
        return self.drain()

    def drain(self):
        changes = self.catalog.drain(everything_seen=self.everything_seen)
        self.stream.update(changes.put)
        for key in changes.remove:
            del self.stream[key]  # KeyError: only what is there may go
        return changes

    def notes(self):
        """The note of each object in the stream; None for those of before."""
        return {
            key.name: codec.decode(body, TYPES[key.kind]).metadata.labels.get("note", "") if body else None
            for key, body in self.stream.items()
        }

    def uid(self, key):
        return codec.decode(self.stream[key], TYPES[key.kind]).metadata.uid

    def problems(self):
        return [(problem.file, problem.line, problem.path) for problem in self.catalog.problems()]


def test_objects_come_change_and_go_with_their_file():
    world = World()
    assert world.says("f.yaml", namespace("a") + namespace("b", "1")).put.keys() == {A, B}

    assert world.says("f.yaml", namespace("a") + namespace("b", "2")).put.keys() == {B}
    assert world.notes() == {"a": "", "b": "2"}

    assert world.says("f.yaml", namespace("a")).remove == {B}
    assert world.goes("f.yaml").remove == {A}
    assert world.stream == {}
    assert world.problems() == []


def test_what_says_the_same_changes_nothing():
    world = World()
    world.says("f.yaml", namespace("a"))

    changes = world.says("f.yaml", "# a comment\n" + namespace("a"))

    assert not changes.put
    assert not changes.remove


def test_a_file_that_becomes_bad_keeps_its_last_good_objects():
    world = World()
    world.says("f.yaml", namespace("a", "1") + namespace("b", "1") + namespace("c", "1"))

    world.says("f.yaml", namespace("a", "2") + BAD)

    assert world.notes() == {"a": "2", "b": "1", "c": "1"}
    assert world.problems() == [("f.yaml", 4, "$")]

    world.says("f.yaml", BAD + namespace("b", "3"))
    assert world.notes() == {"a": "2", "b": "3", "c": "1"}

    world.says("f.yaml", namespace("b", "3"))
    assert world.notes() == {"b": "3"}
    assert world.problems() == []


def test_what_admission_refuses_is_bad_like_what_does_not_parse():
    world = World()
    world.says("f.yaml", namespace("a", "1"))

    world.says("f.yaml", namespace("a", "not a label"))

    assert world.notes() == {"a": "1"}
    assert world.problems() == [("f.yaml", 2, "$.metadata.labels.note")]


def test_an_unreadable_file_keeps_its_objects():
    world = World()
    world.says("f.yaml", namespace("a", "1"))

    world.catalog.take("f.yaml", unreadable("f.yaml", "permission denied"))
    world.drain()

    assert world.notes() == {"a": "1"}
    assert world.problems() == [("f.yaml", 0, "$")]


def test_a_bad_file_that_goes_takes_its_objects_along():
    world = World()
    world.says("f.yaml", namespace("a", "1"))
    world.says("f.yaml", BAD)

    assert world.goes("f.yaml").remove == {A}


def test_a_kind_that_is_not_supported_makes_no_file_bad():
    world = World()
    world.says("f.yaml", namespace("a") + namespace("b"))

    world.says("f.yaml", namespace("a") + "---\n{apiVersion: crd.antrea.io/v1beta1, kind: ExternalNode}\n")

    assert world.notes() == {"a": ""}
    assert world.problems() == [("f.yaml", 4, "$.kind")]


def test_the_first_file_by_path_wins_and_the_problem_names_both():
    world = World()
    world.says("b.yaml", namespace("a", "b"))
    world.says("a.yaml", "\n" + namespace("a", "a"))
    world.says("c.yaml", namespace("a", "c"))

    assert world.notes() == {"a": "a"}
    assert world.problems() == [("b.yaml", 2, "$.metadata.name"), ("c.yaml", 2, "$.metadata.name")]
    assert world.catalog.problems()[0].reason.startswith("Namespace a is in a.yaml, line 3, which comes first")

    world.goes("a.yaml")
    assert world.notes() == {"a": "b"}
    world.goes("c.yaml")
    assert world.problems() == []


def test_the_first_in_a_file_wins():
    world = World()
    world.says("f.yaml", namespace("a", "1") + namespace("a", "2"))

    assert world.notes() == {"a": "1"}
    assert world.problems() == [("f.yaml", 4, "$.metadata.name")]


def test_what_another_file_says_now_beats_what_a_bad_one_held():
    world = World()
    world.says("a.yaml", namespace("a", "old"))
    world.says("a.yaml", BAD)

    world.says("b.yaml", namespace("a", "new"))

    assert world.notes() == {"a": "new"}
    assert world.problems() == [("a.yaml", 2, "$")]


def test_an_object_that_moves_to_another_file_is_the_same_object():
    world = World()
    world.says("a.yaml", namespace("a"))
    uid = world.uid(A)
    world.catalog.take("b.yaml", contents_of(namespace("a").encode(), "b.yaml"))
    world.catalog.drop("a.yaml")

    changes = world.drain()

    assert not changes.put
    assert not changes.remove
    assert world.uid(A) == uid


def test_a_uid_is_made_once_and_kept():
    world = World()
    world.says("f.yaml", namespace("a") + namespace("b"))
    assert (world.uid(A), world.uid(B)) == ("made-1", "made-2")

    world.says("f.yaml", namespace("a", "1") + namespace("b"))
    assert world.uid(A) == "made-1"

    world.says("f.yaml", namespace("b"))
    world.says("f.yaml", namespace("a") + namespace("b"))
    assert world.uid(A) == "made-3", "an object that was deleted and made again is another one"


def test_a_uid_of_the_manifest_is_taken():
    world = World()
    world.says("f.yaml", namespace("a", uid="mine"))
    assert world.uid(A) == "mine"

    world.says("f.yaml", namespace("a", "1"))
    assert world.uid(A) == "mine"


def test_a_uid_belongs_to_one_object():
    world = World()
    world.says("f.yaml", namespace("a", uid="mine") + namespace("b", uid="mine"))

    assert world.notes() == {"a": ""}
    assert world.problems() == [("f.yaml", 4, "$.metadata.uid")]

    world.says("f.yaml", namespace("b", uid="mine"))
    assert world.notes() == {"b": ""}


def test_a_uid_in_the_stream_is_kept():
    world = World({A: "before", B: "before-too"})

    world.says("f.yaml", namespace("a") + namespace("b", uid="mine"))

    assert (world.uid(A), world.uid(B)) == ("before", "mine")


def test_what_no_file_holds_goes_when_all_have_been_heard():
    world = World({A: "1", B: "2"})
    world.everything_seen = False
    world.says("f.yaml", namespace("a"))
    assert world.notes() == {"a": "", "b": None}

    world.everything_seen = True
    assert world.drain().remove == {B}


def test_what_no_file_holds_stays_while_a_file_was_never_good():
    world = World({A: "1", B: "2", C: "3"})
    world.says("bad.yaml", BAD)
    world.says("f.yaml", namespace("a"))
    assert world.notes() == {"a": "", "b": None, "c": None}

    world.says("bad.yaml", namespace("b"))

    assert world.notes() == {"a": "", "b": ""}


def test_a_file_that_was_good_once_says_all_it_held():
    world = World({A: "1", B: "2"})
    world.everything_seen = False
    world.says("f.yaml", namespace("a"))
    world.says("f.yaml", BAD)

    world.everything_seen = True
    assert world.drain().remove == {B}
    assert world.notes() == {"a": ""}


def test_losing_an_object_is_known_before_it_happens():
    world = World()
    world.says("f.yaml", namespace("a") + namespace("b"))

    def loses(text):
        return world.catalog.loses("f.yaml", contents_of(text.encode(), "f.yaml"))

    assert loses("")
    assert loses(namespace("a"))
    assert not loses(namespace("b") + namespace("a") + namespace("c"))
    assert not loses(BAD), "a bad file keeps what it held"
    assert not world.catalog.loses("new.yaml", contents_of(b"", "new.yaml"))


TEXTS = st.lists(
    st.builds(namespace, st.sampled_from("abc"), st.sampled_from(["", "1"]), st.sampled_from(["", "u", "v"])),
    max_size=3,
).map("".join)
STEPS = st.lists(st.tuples(st.sampled_from(["1.yaml", "2.yaml", "3.yaml"]), st.none() | TEXTS | st.just(BAD)))


def played(steps: Iterable[tuple[str, str | None]]) -> World:
    world = World()
    for file, text in steps:
        if text is not None:
            world.says(file, text)
        elif file in world.catalog.files:
            world.goes(file)
    return world


def without_uids(world):
    return {
        key: {"note": codec.decode(body, TYPES[key.kind]).metadata.labels.get("note")}
        for key, body in world.stream.items()
    }


@given(STEPS)
def test_state_is_a_fold(steps):
    """After any history of good files, and of bad ones that were mended, only what the files say now counts."""
    last = {file: text for file, text in steps if text != BAD}
    world = played([*steps, *last.items()])
    fresh = played(sorted(last.items()))
    unmended = {file for file, text in steps if text == BAD} - last.keys()

    if not unmended:
        assert without_uids(world) == without_uids(fresh)
        assert world.catalog.problems() == fresh.catalog.problems()


@given(STEPS)
def test_incremental_equals_recomputed(steps):
    """What changed adds up to what is: a catalog that drains once at the end says the same."""
    world = played(steps)
    once = World()
    for file, text in steps:
        if text is not None:
            once.catalog.take(file, contents_of(text.encode(), file))
        elif file in once.catalog.files:
            once.catalog.drop(file)
    once.drain()

    assert without_uids(world) == without_uids(once)
    assert world.catalog.problems() == once.catalog.problems()


TIER = Key(Kind.TIER, "", "mine")
POLICY = Key(Kind.CLUSTER_NETWORK_POLICY, "", "p")


def tier(name="mine", priority=10):
    return (
        f"---\n{{apiVersion: crd.antrea.io/v1beta1, kind: Tier, metadata: {{name: {name}}}, "
        f"spec: {{priority: {priority}}}}}\n"
    )


def policy(of="mine", note=""):
    return (
        f"---\n{{apiVersion: crd.antrea.io/v1beta1, kind: ClusterNetworkPolicy, metadata: {{name: p, labels: "
        f"{{note: '{note}'}}}}, spec: {{priority: 1, tier: {of}, appliedTo: [{{podSelector: {{}}}}]}}}}\n"
    )


def test_a_policy_waits_for_its_tier():
    world = World()

    assert not world.says("a.yaml", policy()).put
    assert [problem.path for problem in world.catalog.problems()] == ["$.spec.tier"]
    assert "there is no tier mine" in world.catalog.problems()[0].reason

    assert world.says("b.yaml", tier()).put.keys() == {TIER, POLICY}
    assert not world.catalog.problems()


def test_both_at_once_are_taken_in_whatever_their_order():
    world = World()

    assert world.says("a.yaml", policy() + tier()).put.keys() == {TIER, POLICY}


def test_a_policy_whose_tier_goes_stays_as_it_was_and_is_told():
    world = World()
    world.says("a.yaml", policy(note="old"))
    world.says("b.yaml", tier())

    assert world.goes("b.yaml").remove == {TIER}
    assert POLICY in world.stream
    assert [problem.path for problem in world.catalog.problems()] == ["$.spec.tier"]

    assert not world.says("a.yaml", policy(note="new")).put
    assert world.notes()["p"] == "old"

    assert world.goes("a.yaml").remove == {POLICY}
    assert not world.catalog.problems()


def test_a_policy_of_the_stream_is_not_lost_for_want_of_its_tier():
    world = World({POLICY: "its-uid"})

    assert world.says("a.yaml", policy()) == ({}, frozenset())
    assert len(world.catalog.problems()) == 1


def test_a_policy_that_changes_to_a_missing_tier_stays_as_it_was():
    world = World()
    world.says("a.yaml", policy(of="emergency", note="old"))

    assert not world.says("a.yaml", policy(of="nowhere", note="new")).put
    assert world.notes()["p"] == "old"


def test_static_tiers_need_no_object():
    world = World()

    assert world.says("a.yaml", policy(of="SecurityOps")).put.keys() == {POLICY}
    assert world.says("b.yaml", tier("securityops", 100)).put
    assert not world.catalog.problems()


def test_of_two_tiers_with_one_priority_the_first_has_it():
    world = World()
    world.says("b.yaml", tier("second") + policy(of="second"))
    assert not world.catalog.problems()

    world.says("a.yaml", tier("first"))
    told = [(problem.file, problem.path) for problem in world.catalog.problems()]
    assert told == [("b.yaml", "$.spec.priority"), ("b.yaml", "$.spec.tier")]
    assert {key.name for key in world.stream} == {"first", "p"}

    world.says("b.yaml", tier("second", 11) + policy(of="second"))
    assert not world.catalog.problems()
    assert {key.name for key in world.stream} == {"first", "second", "p"}


def group(name, *children):
    spec = f"{{childGroups: [{', '.join(children)}]}}" if children else "{podSelector: {}}"
    return f"---\n{{apiVersion: crd.antrea.io/v1beta1, kind: ClusterGroup, metadata: {{name: {name}}}, spec: {spec}}}\n"


def told(world):
    return sorted((problem.file, problem.reason.partition(",")[0]) for problem in world.catalog.problems())


PARENT, CHILD = Key(Kind.CLUSTER_GROUP, "", "outer"), Key(Kind.CLUSTER_GROUP, "", "inner")
DEEP = {
    "outer.yaml": group("outer", "inner"),
    "inner.yaml": group("inner", "third"),
}


def test_groups_that_nest_too_deep_are_not_taken_in_whoever_comes_first():
    for order in itertools.permutations(DEEP):
        world = World()
        for file in order:
            world.says(file, DEEP[file])

        assert told(world) == [
            ("inner.yaml", "the group is itself a child of outer"),
            ("outer.yaml", '"inner" has childGroups itself'),
        ]


def test_a_group_that_nests_too_deep_stays_what_it_was_and_comes_when_it_may():
    world = World()
    world.says("inner.yaml", group("inner"))
    world.says("outer.yaml", group("outer", "inner"))
    before = world.stream[CHILD]

    assert world.says("inner.yaml", group("inner", "third")).put == {}
    assert world.stream[CHILD] == before
    assert len(told(world)) == 2

    changes = world.goes("outer.yaml")
    assert changes.remove == {PARENT}
    assert changes.put.keys() == {CHILD}
    assert told(world) == []


def test_a_child_that_goes_leaves_its_parent():
    world = World()
    world.says("inner.yaml", group("inner"))
    world.says("outer.yaml", group("outer", "inner"))

    assert world.goes("inner.yaml").remove == {CHILD}
    assert told(world) == []


def test_there_are_twenty_tiers_at_most_and_the_last_files_wait():
    world = World()
    for number in range(16):
        world.says(f"{number:02}.yaml", tier(f"t{number}", number))

    assert told(world) == [(f"{number}.yaml", "there are already 20 tiers") for number in (14, 15)]
    assert world.goes("03.yaml").put.keys() == {Key(Kind.TIER, "", "t14")}
    assert told(world) == [("15.yaml", "there are already 20 tiers")]


HEADLESS = "---\n{apiVersion: v1, kind: Service, metadata: {name: web, namespace: x}, spec: {clusterIP: %s}}\n"


def test_a_policy_about_a_service_that_cannot_be_meant_is_not_taken_in():
    to_web = (
        "---\n{apiVersion: crd.antrea.io/v1beta1, kind: ClusterNetworkPolicy, metadata: {name: p}, spec: {priority: 1, "
        "appliedTo: [{podSelector: {}}], egress: [{action: Drop, toServices: [{name: web, namespace: x}]}]}}\n"
    )
    world = World()
    assert world.says("service.yaml", HEADLESS % "None").put
    assert world.says("policy.yaml", to_web).put == {}
    assert told(world) == [
        ("policy.yaml", "a headless Service has no address of its own; use a group with serviceReference in `to`")
    ]

    assert Key(Kind.CLUSTER_NETWORK_POLICY, "", "p") in world.says("service.yaml", HEADLESS % "10.96.0.1").put
    assert told(world) == []
