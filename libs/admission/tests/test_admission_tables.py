"""The tables of objects, right and wrong, with what is said of each."""

import pytest

from sluice.admission.admit import admit, cautions
from sluice.admission.among import admit_among, cautions_among
from sluice.admission.context import Known
from sluice.contracts import codec
from sluice.contracts.status import DocumentProblem
from sluice.kube.manifest import Document, parse
from sluice.testkit.admission.spoiled import ACCEPTED, REFUSED


def others(case):
    known = Known()
    for given in case.among:
        [document] = parse(codec.encode(given), "other.json")
        assert isinstance(document, Document), document
        known.put(document.object)
    return known


def said(case):
    for found in parse(codec.encode(case.object), "case.json"):
        match found:
            case Document(object=made):
                yield from (*admit(made), *admit_among(made, others(case)))
            case DocumentProblem():
                yield found.path, found.reason


def check(found, expected):
    assert len(found) == len(expected), found
    for (path, reason), wanted in zip(found, expected, strict=True):
        where, _, part = wanted.partition(": ")
        assert path == where
        assert part in reason
        assert ";" in reason, "a reason says what to do"


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.title)
def test_accepted(case):
    [document] = parse(codec.encode(case.object), "case.json")

    assert isinstance(document, Document), document
    assert (*admit(document.object), *admit_among(document.object, others(case))) == ()
    check((*cautions(document.object), *cautions_among(document.object, others(case))), case.cautions)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.title)
def test_refused(case):
    check(list(said(case)), case.refused)


def test_the_tables_are_large():
    assert len(REFUSED) >= 150
    assert len(ACCEPTED) >= 100
