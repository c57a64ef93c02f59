"""Randomly corrupted objects of the tables: what users, programs and attackers might send."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from hypothesis import strategies as st

from sluice.testkit.admission import groups, networks, policies, tiers, traffic_controls

ACCEPTED = list(chain.from_iterable(table.ACCEPTED for table in (tiers, policies, groups, networks, traffic_controls)))
REFUSED = list(chain.from_iterable(table.REFUSED for table in (tiers, policies, groups, networks, traffic_controls)))
CASES = [*ACCEPTED, *REFUSED]

Json = Any  # Any: JSON, right or wrong
Path = tuple[str | int, ...]

words: st.SearchStrategy[str] = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ("", "a" * 300, "\N{BLACK HEART SUIT}", "a\x00b", "*", "0x10", "NaN", "-1", "10.0.0.0/8", "fd00::/8")
    ),
    st.sampled_from(
        ("Allow", "Pass", "Drop", "Reject", "Deny", "Self", "TCP", "UDP", "x", "a", "b", "g", "web", "mine")
    ),
)
numbers: st.SearchStrategy[Json] = st.one_of(
    st.integers(),
    st.sampled_from((0, 1, 2, 53, 255, 256, 65535, 65536, 10**30, -(10**30))),
    st.floats(allow_nan=False, allow_infinity=False),
)
plain: st.SearchStrategy[Json] = st.one_of(st.none(), st.booleans(), numbers, words)
values: st.SearchStrategy[Json] = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=12,
)


def places(value: Json, path: Path = ()) -> Iterator[Path]:
    """Every path in the JSON."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from places(inner, (*path, key))


def found(whole: Json, path: Path) -> Json:
    for key in path:
        whole = whole[key]
    return whole


def _parts() -> dict[str, list[Json]]:
    made: dict[str, list[Json]] = {}
    for case in CASES:
        for path in places(dict(case.object)):
            if path and isinstance(path[-1], str):
                made.setdefault(path[-1], []).append(found(case.object, path))
    return made


PARTS = _parts()
"""All values of each field name, anywhere in the tables."""

NAMES = sorted(PARTS)


def _copied(value: Json) -> Json:
    return json.loads(json.dumps(value))


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Json]:
    """An object of the tables with some values replaced: by similar ones, those of other fields, or arbitrary ones."""
    made: dict[str, Json] = _copied(draw(st.one_of(*map(st.sampled_from, (ACCEPTED, policies.ACCEPTED, CASES)))).object)
    for _ in range(draw(st.sampled_from((0, 1, 1, 2, 3)))):
        paths = [path for path in places(made) if path]
        path = draw(st.sampled_from(paths))
        holder: Json = found(made, path[:-1])
        key: Json = path[-1]
        match draw(st.sampled_from((*["like"] * 6, "other", "other", "any", "gone", "new", "twice"))):
            case "like" if key in PARTS:
                holder[key] = _copied(draw(st.sampled_from(PARTS[key])))
            case "other" if isinstance(holder, dict):
                name = draw(st.sampled_from(NAMES))
                holder[name] = _copied(draw(st.sampled_from(PARTS[name])))
            case "any":
                holder[key] = draw(values)
            case "gone":
                del holder[key]
            case "new" if isinstance(holder, dict):
                holder[draw(words)] = draw(values)
            case "twice" if isinstance(holder, list):
                holder.append(_copied(holder[key]))
            case _:
                holder[key] = draw(plain)
    return made
