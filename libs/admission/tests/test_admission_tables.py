"""The tables of objects, right and wrong, with what is said of each."""

from itertools import chain

import pytest

from sluice.admission.admit import admit, cautions
from sluice.contracts import codec
from sluice.contracts.status import DocumentProblem
from sluice.kube.manifest import Document, parse
from sluice.testkit.admission import traffic_controls

TABLES = (traffic_controls,)
ACCEPTED = list(chain.from_iterable(table.ACCEPTED for table in TABLES))
REFUSED = list(chain.from_iterable(table.REFUSED for table in TABLES))


def said(case):
    for found in parse(codec.encode(case.object), "case.json"):
        match found:
            case Document():
                yield from admit(found.object)
            case DocumentProblem():
                yield found.path, found.reason


def check(found, expected):
    assert len(found) == len(expected), found
    for (path, reason), wanted in zip(found, expected, strict=True):
        where, _, part = wanted.partition(": ")
        assert path == where
        assert part in reason
        assert ";" in reason, "a reason says what to do"


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_accepted(case):
    [document] = parse(codec.encode(case.object), "case.json")

    assert isinstance(document, Document), document
    assert admit(document.object) == ()
    check(list(cautions(document.object)), case.cautions)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(case):
    check(list(said(case)), case.refused)
