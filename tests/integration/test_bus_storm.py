"""Many nodes lose the server together: each reads again, and no mark comes before what it vouches for."""

from tests.bench.storm import storm


async def test_every_node_has_what_came_meanwhile_before_the_mark_that_says_so(tmp_path):
    _, told = await storm(tmp_path, 20)

    assert told == [{"x/p2"}] * 20
