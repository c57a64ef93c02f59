from collections.abc import Iterator

import pytest

from sluice.grouping.anchors import SMALL


@pytest.fixture(params=[SMALL, 0], ids=["one-by-one", "shelves"], scope="module", autouse=True)
def small(request: pytest.FixtureRequest) -> Iterator[int]:
    """How few things are looked at one by one: worlds of tests are small, and shelves must be right as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sluice.grouping.matching.SMALL", request.param)
        yield request.param
