"""Reviews and their answers, without a socket: the tables of admission, as the API server would ask them."""

import base64
import json

import msgspec
import pytest

from sluice.admission.context import Known
from sluice.contracts import codec
from sluice.kube.convert import ANTREA_NAME_LABEL
from sluice.kube.manifest import Document, parse
from sluice.services.admission import judging, review
from sluice.testkit.admission import groups, networks, policies, tiers
from sluice.testkit.admission.spoiled import CASES


def request(made=None, operation="CREATE", before=None, **more):
    whole = made or before
    group, _, version = whole["apiVersion"].rpartition("/")
    metadata = whole["metadata"]
    asked = {
        "uid": "705ab4f5",
        "kind": {"group": group, "version": version, "kind": whole["kind"]},
        "operation": operation,
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "object": made,
        "oldObject": before,
        **more,
    }
    body = codec.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked})
    return review.parse(body).request


def known(*objects):
    others = Known()
    for given in objects:
        [document] = parse(codec.encode(given), "other.json")
        assert isinstance(document, Document)
        others.put(document.object)
    return others


def validated(asked, others=None, tiers=()):
    return judging.validate(judging.read(asked), others or known(), tiers)


def patched(response, made):
    """The object with the patch, of which `add` is all that there is."""
    made = json.loads(json.dumps(made))
    for operation in json.loads(base64.b64decode(response.patch or "W10=")):
        assert operation["op"] == "add"
        *parents, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        at = made
        for step in parents:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[last] = operation["value"]
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_tables(case):
    response = validated(request(case.object), known(*case.among))

    assert response.uid == "705ab4f5"
    assert response.allowed == (not case.refused)
    if case.refused:
        assert response.status.code == 422
        assert len(response.status.details.causes) == len(case.refused)
        for cause, wanted in zip(response.status.details.causes, case.refused, strict=True):
            path, _, part = wanted.partition(": ")
            assert cause.message.startswith(f"{path}: ")
            assert part in cause.message
            assert cause.message in response.status.message
    assert len(response.warnings) == len(case.cautions)


UNNAMED = policies.cluster(
    ingress=[{"action": "Drop"}, {"action": "Allow", "name": "mine"}, {"action": "Deny", "ports": [{"port": 80}]}],
    egress=[{"action": "Reject"}],
)


def test_what_is_left_out_is_written_in():
    made = patched(judging.mutate(judging.read(request(UNNAMED))), UNNAMED)

    assert made["spec"]["tier"] == "application"
    names = [rule["name"] for rule in made["spec"]["ingress"] + made["spec"]["egress"]]
    assert names[1] == "mine"
    for name, start in zip(names, ("ingress-drop-", "mine", "ingress-drop-", "egress-reject-"), strict=True):
        assert name.startswith(start)
    assert all(len(name.rpartition("-")[2]) == 7 for name in names if name != "mine")
    assert len(set(names)) == 4
    assert validated(request(made)).allowed
    again = judging.mutate(judging.read(request(made)))
    assert (again.allowed, again.patch, again.patch_type) == (True, "", "")


def test_names_made_of_equal_rules_collide():
    twins = policies.ingress({}, {})
    made = patched(judging.mutate(judging.read(request(twins))), twins)

    assert "is also the name of $.spec.ingress[0]" in validated(request(made)).status.message


@pytest.mark.parametrize(
    "made",
    [policies.cluster(priority="5"), tiers.tier("mine", 10), groups.cg(), networks.plain(podSelector={})],
    ids=["wrong", "Tier", "ClusterGroup", "NetworkPolicy"],
)
def test_others_are_left_as_they_are(made):
    response = judging.mutate(judging.read(request(made)))

    assert (response.allowed, response.patch) == (True, "")


def namespace(**metadata):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **metadata}}


@pytest.mark.parametrize(
    ("made", "labels"),
    [
        (namespace(), {ANTREA_NAME_LABEL: "shop"}),
        (namespace(labels={}), {ANTREA_NAME_LABEL: "shop"}),
        (namespace(labels={"a": "b"}), {"a": "b", ANTREA_NAME_LABEL: "shop"}),
        (namespace(labels={ANTREA_NAME_LABEL: "other"}), {ANTREA_NAME_LABEL: "shop"}),
        (namespace(labels={ANTREA_NAME_LABEL: "shop"}), {ANTREA_NAME_LABEL: "shop"}),
    ],
    ids=["no labels", "empty labels", "another label", "a lie", "the truth"],
)
def test_a_namespace_is_labelled_with_its_name(made, labels):
    assert patched(judging.mutate_namespace(request(made)), made)["metadata"]["labels"] == labels


def test_the_label_webhook_leaves_others_alone():
    for asked in (
        request(policies.cluster()),
        request(None, "DELETE", namespace()),
        request(namespace(), subResource="finalize"),
    ):
        assert judging.mutate_namespace(asked).patch == ""


REMOVALS = [
    ("a static tier", tiers.tier("emergency", 50), (), "the tier emergency is reserved"),
    ("a tier that is named", tiers.tier("mine", 10), (policies.cluster(tier="mine"),), "used by 1 policy"),
    ("a tier that nobody names", tiers.tier("mine", 10), (policies.cluster(),), ""),
    ("a child", groups.CHILD, (groups.CHILD, groups.parent("b")), "the ClusterGroup b is a child of a"),
    ("a parent", groups.parent("b"), (groups.CHILD, groups.parent("b")), ""),
    ("a Group with a parent elsewhere", groups.grp("b", "y"), (groups.grp(childGroups=["b"]),), ""),
    ("a group that a policy names", groups.CHILD, (policies.applied({"group": "b"}),), ""),
    ("a policy", policies.cluster(), (policies.cluster(),), ""),
]


@pytest.mark.parametrize(("name", "gone", "among", "reason"), REMOVALS, ids=[row[0] for row in REMOVALS])
def test_removals(name, gone, among, reason):
    response = validated(request(None, "DELETE", gone), known(*among))

    assert response.allowed == (not reason)
    if reason:
        assert reason in response.status.message


def test_updates():
    before, after = tiers.tier("a", 10), tiers.tier("a", 11)

    assert not validated(request(after, "UPDATE", before), known(before)).allowed
    assert validated(request(tiers.tier("a", 10, description="d"), "UPDATE", before), known(before)).allowed


def test_what_was_admitted_once_stays_editable():
    before = policies.cluster(tier="gone")
    after = {**before, "metadata": {**before["metadata"], "finalizers": ["example.com/f"]}}

    assert validated(request(after, "UPDATE", before)).allowed
    assert not validated(request(policies.cluster(tier="gone", priority=6), "UPDATE", before)).allowed


def test_an_annotation_may_be_what_the_rules_are_about():
    before = networks.multi("net", podSelector={})
    after = networks.multi("a/b/c", podSelector={})

    assert not validated(request(after, "UPDATE", before)).allowed


def test_a_tier_that_somebody_else_knows():
    asked = judging.read(request(policies.cluster(tier="mine")))

    assert judging.misses(asked, known()) == "mine"
    assert judging.validate(asked, known(), ("mine",)).allowed
    assert judging.misses(asked, known(tiers.tier("mine", 10))) is None
    assert judging.misses(judging.read(request(policies.cluster())), known()) is None
    assert judging.misses(judging.read(request(groups.cg())), known()) is None


@pytest.mark.parametrize(
    "asked",
    [
        request({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": "x"}}),
        request(policies.cluster(priority="5"), subResource="status", operation="UPDATE", before=policies.cluster()),
        request(None, "CONNECT", policies.cluster()),
    ],
    ids=["a foreign kind", "a status", "a connection"],
)
def test_what_is_none_of_our_business_passes(asked):
    assert validated(asked).allowed


@pytest.mark.parametrize(
    "made",
    [None, [], "text", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}],
    ids=["nothing", "a list", "a text", "another kind"],
)
def test_an_object_that_is_not_of_its_kind(made):
    asked = request(policies.cluster())
    swapped = msgspec.structs.replace(asked, object=msgspec.Raw(codec.encode(made)))

    response = validated(swapped)
    assert not response.allowed
    assert response.status.details.causes


ASKED = b'{"uid": "u", "kind": {"kind": "Pod", "version": "v1"}, "operation": "CREATE"}'

STRANGE = [
    ("1e400", "not a finite number"),
    ("1e3", "where an integer belongs"),
    ("1" * 5000, "out of range for an integer"),
    ("[" * 63 + "]" * 63, "nested deeper than 64"),
    ('"\\u0000"', "is text where"),
    ('{"a": {"b": {}}}', "a map where"),
]


@pytest.mark.parametrize(("priority", "part"), STRANGE, ids=range(len(STRANGE)))
def test_strange_values(priority, part):
    made = codec.encode(tiers.tier("a", 77)).replace(b"77", priority.encode())
    asked = msgspec.structs.replace(request(tiers.tier("a", 77)), object=msgspec.Raw(made))

    assert part in validated(asked).status.message


MALFORMED = [
    (b"", "not an AdmissionReview"),
    (b"{", "not an AdmissionReview"),
    (b"\xff", "not an AdmissionReview"),
    (b"[" * 100_000, "not an AdmissionReview"),
    (b'{"apiVersion": NaN}', "not an AdmissionReview"),
    (b'{"apiVersion": "\\ud800"}', "not an AdmissionReview"),
    (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "request"),
    (b'{"apiVersion": "admission.k8s.io/v1", "kind": "Review", "request": {}}', "kind"),
    (
        b'{"apiVersion": "admission.k8s.io/v2", "kind": "AdmissionReview", "request": %s}' % ASKED,
        "admission.k8s.io/v1 or",
    ),
]


@pytest.mark.parametrize(("body", "part"), MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_review(body, part):
    with pytest.raises(review.Malformed, match=part):
        review.parse(body)


def test_the_answer_has_the_version_of_the_question():
    body = b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": %s}' % ASKED
    asked = review.parse(body)

    assert json.loads(review.answer(asked, validated(asked.request))) == {
        "apiVersion": "admission.k8s.io/v1beta1",
        "kind": "AdmissionReview",
        "response": {"uid": "u", "allowed": True},
    }
