"""The list of mutations does not rot: what each breaks is still there, and so are the tests that must notice."""

from pathlib import Path

import pytest
from tests.mutate.mutations import MUTATIONS, Mutation
from tests.mutate.run import missing

ROOT = Path(__file__).parents[2]


def test_there_are_enough_of_them():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 30


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_line_is_there_once_and_the_tests_are_there(mutation: Mutation):
    assert missing(mutation, ROOT) == ""
    assert mutation.broken != mutation.line
    compile((ROOT / mutation.file).read_text().replace(mutation.line, mutation.broken), mutation.file, "exec")
    for test in mutation.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists()
        assert not name or f"def {name}(" in (ROOT / path).read_text()
