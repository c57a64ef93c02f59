"""What is told of Kubernetes objects: which of it travels, and what changes when nothing or not everything is told."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import Revision
from sluice.contracts.kinds import RESOURCES, SELF_CONTAINED, Kind
from sluice.contracts.objects import Pod
from sluice.contracts.programs import Direction
from sluice.grouping.events import ObjectKey
from sluice.grouping.events import read as events_read
from sluice.policy.state import ClusterState
from sluice.services.ingest.catalog import Key
from sluice.services.ingest.kubernetes.objects import Objects
from sluice.services.ingest.kubernetes.reading import reader
from sluice.testkit.apiserver.workloads import pod


def made(kind, name="a", **fields):
    resource = RESOURCES[kind]
    metadata = {"name": name, "uid": f"uid-{name}", **({"namespace": "x"} if resource.namespaced else {})}
    fields["metadata"] = {**metadata, **fields.get("metadata", {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **fields}


def read(kind, document):
    return reader(kind)(msgspec.json.encode(document))


def changed(document, **paths):
    """The document with other values, by paths like metadata__labels."""
    copy = msgspec.json.decode(msgspec.json.encode(document))
    for path, value in paths.items():
        *steps, last = path.split("__")
        place = copy
        for step in steps:
            place = place.setdefault(step, {})
        place[last] = value
    return copy


POD = pod("x", "a", ip="10.0.0.7")
POLICY = made(
    Kind.K8S_NETWORK_POLICY, metadata={"generation": 1, "resourceVersion": "7"}, spec={"podSelector": {}, "ingress": []}
)

UNHEARD = [
    ("a Pod's condition", Kind.POD, POD, {"status__conditions": []}),
    ("a Pod's annotation", Kind.POD, POD, {"metadata__annotations": {"a": "b"}}),
    ("a Pod's generation", Kind.POD, POD, {"metadata__generation": 9}),
    ("a Pod's version", Kind.POD, POD, {"metadata__resourceVersion": "9"}),
    (
        "a node's heartbeat",
        Kind.NODE,
        made(Kind.NODE, status={"conditions": []}),
        {"status__conditions": [{"type": "Ready"}]},
    ),
    ("a policy's version", Kind.K8S_NETWORK_POLICY, POLICY, {"metadata__resourceVersion": "8"}),
    ("who wrote a policy", Kind.K8S_NETWORK_POLICY, POLICY, {"metadata__managedFields": [{"manager": "kubectl"}]}),
    ("a policy's status", Kind.K8S_NETWORK_POLICY, POLICY, {"status": {"phase": "Realized"}}),
    (
        "another text of an address",
        Kind.POD,
        POD,
        {"status__podIPs": [{"ip": "10.0.0.7"}], "status__podIP": "10.0.0.7"},
    ),
]
HEARD = [
    ("a Pod's label", Kind.POD, POD, {"metadata__labels": {"app": "other"}}),
    ("a Pod's second address", Kind.POD, POD, {"status__podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]}),
    ("a Pod that ended", Kind.POD, POD, {"status__phase": "Succeeded"}),
    ("a Pod's node", Kind.POD, POD, {"spec__nodeName": "node-2"}),
    (
        "a named port",
        Kind.POD,
        POD,
        {"spec__containers": [{"name": "web", "ports": [{"name": "h", "containerPort": 1}]}]},
    ),
    ("another Pod of the name", Kind.POD, POD, {"metadata__uid": "another"}),
    ("a policy's rules", Kind.K8S_NETWORK_POLICY, POLICY, {"spec__ingress": [{}]}),
    ("a policy's annotation", Kind.K8S_NETWORK_POLICY, POLICY, {"metadata__annotations": {"a": "b"}}),
]


@pytest.mark.parametrize(("name", "kind", "document", "change"), UNHEARD, ids=[row[0] for row in UNHEARD])
def test_what_nobody_reads_changes_nothing(name, kind, document, change):
    assert read(kind, document).body
    assert read(kind, document) == read(kind, changed(document, **change))


@pytest.mark.parametrize(("name", "kind", "document", "change"), HEARD, ids=[row[0] for row in HEARD])
def test_what_is_read_travels(name, kind, document, change):
    assert read(kind, document).body != read(kind, changed(document, **change)).body


LIFE = [
    ("not scheduled", {"spec__nodeName": "", "status": {"phase": "Pending"}}, False, ()),
    ("scheduled, no address yet", {"status": {"phase": "Pending"}}, True, ()),
    ("running", {}, True, ("10.0.0.7",)),
    (
        "two families",
        {"status__podIPs": [{"ip": "10.0.0.7"}, {"ip": "FD00:0::7"}]},
        True,
        ("10.0.0.7", "fd00::7"),
    ),
    ("only podIP", {"status__podIPs": []}, True, ("10.0.0.7",)),
    ("succeeded", {"status__phase": "Succeeded"}, False, ("10.0.0.7",)),
    ("failed", {"status__phase": "Failed"}, False, ("10.0.0.7",)),
    ("about to go", {"metadata__deletionTimestamp": "2026-01-01T00:00:00Z"}, True, ("10.0.0.7",)),
    ("on the host's network", {"spec__hostNetwork": True}, False, ("10.0.0.7",)),
]


@pytest.mark.parametrize(("name", "change", "on_network", "addresses"), LIFE, ids=[row[0] for row in LIFE])
def test_the_life_of_a_pod(name, change, on_network, addresses):
    told = msgspec.json.decode(read(Kind.POD, changed(POD, **change)).body, type=Pod)

    assert told.on_pod_network is on_network
    assert told.addresses == addresses


BAD = [
    ("an address that is none", Kind.POD, changed(POD, status__podIP="x", status__podIPs=[{"ip": "x"}]), "podIP"),
    (
        "a port that is none",
        Kind.POD,
        changed(POD, spec__containers=[{"ports": [{"containerPort": "x"}]}]),
        "containerPort",
    ),
    ("labels that are a list", Kind.POD, changed(POD, metadata__labels=[]), "labels"),
    (
        "a policy of Antrea with a field that is not known",
        Kind.ANTREA_NETWORK_POLICY,
        made(Kind.ANTREA_NETWORK_POLICY, spec={"priority": 1, "appliedTo": [{"podSelektor": {}}]}),
        "podSelektor",
    ),
    (
        "a policy of Kubernetes with a spec that is none",
        Kind.K8S_NETWORK_POLICY,
        changed(POLICY, spec=[]),
        "spec",
    ),
]


@pytest.mark.parametrize(("name", "kind", "document", "where"), BAD, ids=[row[0] for row in BAD])
def test_what_is_not_taken_in_says_where(name, kind, document, where):
    reading = read(kind, document)

    assert reading.key == Key(kind, "x", "a")
    assert reading.body == b""
    assert reading.problems
    assert {problem.file for problem in reading.problems} == {f"{kind}/x/a"}
    assert any(where in problem.path + problem.reason for problem in reading.problems)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_nested_as_deeply_as_an_api_server_accepts_is_a_problem_or_passed_over_and_no_crash(kind):
    body = msgspec.json.encode(made(kind, spec={"on": "deep"})).replace(b'"deep"', b"[" * 9_990 + b"]" * 9_990)

    reading = reader(kind)(body)

    assert reading.key == Key(kind, "x" if RESOURCES[kind].namespaced else "", "a")
    assert reading.body == b""
    assert reading.problems


def test_of_an_object_with_many_problems_a_few_are_told():
    spec = {"podSelector": {}, **{f"on{number}": 1 for number in range(1_000)}, "f" * 100_000: 1}
    reading = read(Kind.MULTI_NETWORK_POLICY, made(Kind.MULTI_NETWORK_POLICY, spec=spec))

    assert reading.body
    assert len(reading.problems) == 11
    assert reading.problems[-1].reason == "and 991 problems more"
    assert len(msgspec.json.encode(reading.problems)) < 20_000


CLOSED = [
    (
        "a peer of a field that is not known",
        {"spec__ingress": [{"from": [{"accountSelector": {"name": "a"}}]}]},
        "$.spec.ingress[0].from[0].accountSelector",
        False,
    ),
    ("a field of the spec", {"spec__on": "n1"}, "$.spec.on", False),
    (
        "a null in a selector",
        {"spec__ingress": [{"from": [{"podSelector": {"matchLabels": {"app": None}}}]}]},
        "$.spec.ingress[0].from[0].podSelector.matchLabels.app",
        False,
    ),
    (
        "a null in a list",
        {"spec__ingress": [{"from": [None]}]},
        "$.spec.ingress[0].from[0]",
        False,
    ),
    (
        "a block that admission refuses",
        {"spec__ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]},
        "$.spec.ingress[0].from[0].ipBlock.cidr",
        False,
    ),
    ("a field of the metadata", {"metadata__later": 1, "spec__ingress": [{}]}, "$.metadata.later", True),
]


@pytest.mark.parametrize("kind", sorted(SELF_CONTAINED))
@pytest.mark.parametrize(("name", "change", "where", "opens"), CLOSED, ids=[row[0] for row in CLOSED])
def test_a_policy_of_kubernetes_that_is_not_understood_isolates_and_says_where(name, kind, change, where, opens):
    """Without it, its Pods would be open."""
    metadata = {"annotations": {"k8s.v1.cni.cncf.io/policy-for": "net"}} if kind is Kind.MULTI_NETWORK_POLICY else {}
    reading = read(kind, changed(made(kind, metadata=metadata, spec={"podSelector": {}, "ingress": []}), **change))

    assert [problem.path for problem in reading.problems] == [where]
    event = events_read(ObjectKey(kind, "x", "a"), reading.body, Revision(1, 1))
    assert event.object is not None
    (program,) = ClusterState((event.object,)).compiler.programs.values()
    assert Direction.INGRESS in program.isolates
    assert any(rule.peers is None for rule in program.rules) is opens
    assert all(not rule.peers for rule in program.rules)

    objects = listed(**{kind.name: [reading]})
    assert told(objects) == (["a"], [])
    assert [problem.path for problem in objects.problems] == [where]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"metadata":7}', b'{"metadata":{"name":7}}', b"{"])
def test_what_does_not_even_say_its_name_is_a_problem_and_no_crash(body):
    for kind in Kind:
        reading = reader(kind)(body)
        assert reading.key is None
        assert reading.problems[0].file == f"{kind}/?"


# ----------------------------------------------------------------------------------------------------------- the fold


def good(name, kind=Kind.NAMESPACE):
    return read(kind, made(kind, name))


def bad(name):
    return read(Kind.NAMESPACE, made(Kind.NAMESPACE, name, metadata={"labels": 7}))


NAMELESS = reader(Kind.NAMESPACE)(b"{}")


def key(name, kind=Kind.NAMESPACE):
    return Key(kind, "", name)


def listed(stored=(), **kinds):
    """Objects of which every kind was listed: empty, but for those named."""
    objects = Objects(stored)
    for kind in Kind:
        objects.list(kind, kinds.get(kind.name, ()))
    return objects


def told(objects):
    changes = objects.drain()
    return sorted(one.name for one in changes.put), sorted(one.name for one in changes.remove)


def test_nothing_is_told_before_every_kind_is_listed():
    objects = Objects([key("stored")])
    for kind in list(Kind)[:-1]:
        objects.list(kind, [good("new")] if kind is Kind.NAMESPACE else ())
        assert told(objects) == ([], [])
        assert not objects.listed
    assert any("not listed yet" in reason for reason in objects.waiting)

    objects.list(list(Kind)[-1], ())

    assert told(objects) == (["new"], ["stored"])
    assert told(objects) == ([], [])
    assert objects.waiting == ()


STORED = (key("a"), key("b"))

LISTINGS = [
    ("all of them", [good("a"), good("b")], ["a", "b"], []),
    ("one is missing", [good("a")], ["a"], ["b"]),
    ("one is not taken in: it stays what it was", [good("a"), bad("b")], ["a"], []),
    ("one that is new is not taken in", [good("a"), good("b"), bad("c")], ["a", "b"], []),
    ("one does not say its name: it may be any", [good("a"), NAMELESS], ["a"], []),
]


@pytest.mark.parametrize(("name", "readings", "put", "removed"), LISTINGS, ids=[row[0] for row in LISTINGS])
def test_a_listing(name, readings, put, removed):
    assert told(listed(STORED, NAMESPACE=readings)) == (put, removed)


def test_a_later_listing_takes_away_what_it_does_not_name():
    objects = listed(NAMESPACE=[good("a"), good("b")])
    told(objects)

    objects.list(Kind.NAMESPACE, [good("b")])

    assert told(objects) == ([], ["a"])


def test_what_did_not_change_is_not_told_again():
    objects = listed(NAMESPACE=[good("a")])
    assert told(objects) == (["a"], [])

    objects.put(Kind.NAMESPACE, good("a"))
    objects.list(Kind.NAMESPACE, [good("a")])

    assert told(objects) == ([], [])


def test_an_object_that_turned_bad_stays_until_it_goes():
    objects = listed(NAMESPACE=[good("a")])
    told(objects)

    objects.put(Kind.NAMESPACE, bad("a"))
    assert told(objects) == ([], [])
    assert [problem.file for problem in objects.problems] == ["namespaces/a"]

    objects.remove(Kind.NAMESPACE, bad("a"))
    assert told(objects) == ([], ["a"])
    assert objects.problems == ()


def test_a_problem_goes_with_its_cause():
    objects = listed(NAMESPACE=[bad("a"), NAMELESS])
    assert len(objects.problems) == 2

    objects.put(Kind.NAMESPACE, good("a"))
    assert [problem.file for problem in objects.problems] == ["namespaces/?"]

    objects.list(Kind.NAMESPACE, [good("a")])
    assert objects.problems == ()


def test_of_several_changes_the_last_is_told():
    objects = listed(NAMESPACE=[good("a")])
    told(objects)

    objects.remove(Kind.NAMESPACE, good("a"))
    objects.put(Kind.NAMESPACE, good("a"))
    objects.put(Kind.NAMESPACE, good("b"))
    objects.remove(Kind.NAMESPACE, good("b"))

    assert told(objects) == (["a"], ["b"])


def test_what_waits_says_so_until_it_is_heard():
    objects = listed()

    assert objects.wait(Kind.TIER, "not installed")
    assert not objects.wait(Kind.TIER, "not installed")
    assert objects.waiting == ("not installed",)

    objects.list(Kind.TIER, ())
    assert objects.waiting == ()


NAMES = ("a", "b", "c")
LABELS = ("1", "2")


def versions(name):
    """Of one object: two that are good, and one that is not."""
    return [
        *(read(Kind.NAMESPACE, made(Kind.NAMESPACE, name, metadata={"labels": {"l": one}})) for one in LABELS),
        bad(name),
    ]


READINGS = st.sampled_from([reading for name in NAMES for reading in versions(name)])
LISTING = st.lists(st.one_of(READINGS, st.just(NAMELESS)), max_size=4, unique_by=lambda reading: reading.key)
STEPS = st.one_of(
    st.tuples(st.just("list"), LISTING),
    st.tuples(st.just("put"), READINGS),
    st.tuples(st.just("remove"), READINGS),
    st.tuples(st.just("drain"), st.none()),
)


@given(st.lists(STEPS, max_size=30), st.sets(st.sampled_from(NAMES)))
def test_the_stream_holds_the_last_good_version_of_what_is_not_known_to_be_gone(steps, before):
    """Whatever is told in whatever order, and whenever the changes are fetched."""
    stream = {key(name): b"before" for name in before}
    wanted = dict(stream)
    objects = listed(stream, NAMESPACE=[NAMELESS])  # nothing is known yet to be gone

    def fetch():
        changes = objects.drain()
        for one in changes.remove:
            stream.pop(one, None)  # one that came and went between two looks was never stored
        stream.update(changes.put)

    for what, told_ in steps:
        match what:
            case "list":
                objects.list(Kind.NAMESPACE, told_)
                named = {reading.key for reading in told_}
                if NAMELESS not in told_:
                    wanted = {one: body for one, body in wanted.items() if one in named}
                wanted |= {reading.key: reading.body for reading in told_ if reading.body}
            case "put":
                objects.put(Kind.NAMESPACE, told_)
                if told_.body:
                    wanted[told_.key] = told_.body
            case "remove":
                objects.remove(Kind.NAMESPACE, told_)
                wanted.pop(told_.key, None)
            case _:
                fetch()
    fetch()

    assert stream == wanted
