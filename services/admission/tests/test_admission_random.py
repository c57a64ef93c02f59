"""Whatever is asked is answered, and what is admitted can be compiled. Objects of the tables, spoiled at random."""

import json

from hypothesis import given, note
from hypothesis import strategies as st

from sluice.admission.context import Known
from sluice.contracts import codec
from sluice.contracts.ids import Revision
from sluice.contracts.objects import AnyGroup
from sluice.kube.manifest import Document, parse
from sluice.policy.compiler import Compiler
from sluice.policy.translate.targets import UNSUPPORTED_GROUP
from sluice.services.admission import judging, review
from sluice.testkit.admission import policies
from sluice.testkit.admission.spoiled import objects, values
from sluice.testkit.examples import share


def asked(made, operation, old):
    """A request as the API server would make it: it says the kind by the URL, not by what was sent."""
    api = made.get("apiVersion") if isinstance(made, dict) else None
    kind = made.get("kind") if isinstance(made, dict) else None
    group, _, version = api.rpartition("/") if isinstance(api, str) else ("", "", "v1")
    metadata = made.get("metadata") if isinstance(made, dict) else None
    names = metadata if isinstance(metadata, dict) else {}
    request = {
        "uid": "u",
        "kind": {"group": group, "version": version, "kind": kind if isinstance(kind, str) else "Tier"},
        "operation": operation,
        "name": names.get("name") if isinstance(names.get("name"), str) else "",
        "namespace": names.get("namespace") if isinstance(names.get("namespace"), str) else "",
        "object": made,
        "oldObject": old,
    }
    body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
    return review.parse(body.encode())


def read(made):
    return [each.object for each in parse(codec.encode(made), "object.json") if isinstance(each, Document)]


@share(500)
@given(st.lists(objects(), max_size=4), objects())
def test_what_is_admitted_compiles(beside, made):
    """Objects come one after the other; what is admitted is known to the next, and to the compiler."""
    others, compiler = Known(), Compiler()
    for sequence, each in enumerate((*beside, made), start=1):
        asking = judging.read(asked(each, "CREATE", None).request)
        response = judging.validate(asking, others)
        judging.mutate(asking)
        if not response.allowed:
            assert response.status
            assert response.status.details
            assert response.status.details.causes
            continue
        for one in read(each) if asking.made is not None else ():
            note(f"admitted: {json.dumps(each)}")
            others.put(one)
            compiler.put(one, Revision(1, sequence))
            if isinstance(one, AnyGroup):
                user = policies.cluster if one.key[0] == "" else policies.spaced
                [policy] = read(user(appliedTo=[{"group": one.key[1]}], ingress=[{"action": "Drop"}]))
                compiler.put(policy, Revision(1, 1000 + sequence))
            assert not [problem for problem in compiler.problems if not is_expected(problem)]


def is_expected(problem):
    """What is admitted on purpose: docs/admission.md, and a caution each."""
    return problem.code == UNSUPPORTED_GROUP or "it names no network" in problem.reason


@share(500)
@given(
    st.one_of(objects(), values),
    st.sampled_from(("CREATE", "UPDATE", "DELETE", "CONNECT")),
    st.one_of(st.none(), objects(), values),
)
def test_everything_is_answered(made, operation, old):
    request = asked(made, operation, old).request
    others = Known()
    response = judging.validate(judging.read(request), others)

    assert response.uid == "u"
    assert response.allowed or (response.status and response.status.message)
    judging.mutate(judging.read(request))
    if isinstance(made, dict) and isinstance(made.get("metadata"), dict):
        judging.mutate_namespace(request)


@share(300)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_review_or_malformed(body):
    try:
        asking = review.parse(body)
    except review.Malformed:
        return
    judging.validate(judging.read(asking.request), Known())
