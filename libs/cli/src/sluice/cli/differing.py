"""The difference between two states of a cluster, in words: programs, and who reaches whom."""

from collections.abc import Iterable, Iterator
from typing import Any

from sluice.cli import options

MOST_PAIRS = 2_000_000
"""Pairs of Pods beyond which who reaches whom is not compared: as many take some ten seconds. They are pairs of which
the change concerns at least one."""


def compared(before: Any, after: Any) -> dict[str, Any]:  # Any: ClusterState, which is imported lazily
    """The differences, as output in JSON."""
    from sluice.policy import whatif

    pods, concerned = max(len(before.pods), len(after.pods)), whatif.concerned(before, after)
    few = pods * len(concerned) <= MOST_PAIRS
    return {
        "programs": [_program(one) for one in whatif.programs(before, after)],
        "reachability": [_reach(one) for one in whatif.reach(before, after, concerned)] if few else None,
    }


def is_same(found: dict[str, Any]) -> bool:
    return not found["programs"] and not found["reachability"]


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Readable lines."""
    if found["programs"]:
        yield "programs"
        rows = [(f"  {one['change']}", one["policy"], "; ".join(one["what"])) for one in found["programs"]]
        yield options.table(rows)
    if found["reachability"] is None:
        yield (
            "connections between Pods were not compared, because the change concerns too many: there are more than "
            f"{MOST_PAIRS} pairs"
        )
    elif found["reachability"]:
        yield "reachability"
        yield options.table(
            [
                (f"  {way}", f"{one['source']} -> {one['destination']}", f"{one['protocol']} {ports(one[way])}")
                for one in found["reachability"]
                for way in ("opened", "closed")
                if one[way]
            ]
        )
    if is_same(found) and found["reachability"] is not None:
        yield "no difference"


def ports(found: Iterable[tuple[int, int]]) -> str:
    whole = tuple(found)
    if whole == ((1, 65_535),):
        return "all ports"
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in whole)


def _program(one: Any) -> dict[str, Any]:
    from sluice.contracts import subjects
    from sluice.contracts.kinds import RESOURCES

    kind, namespace, name = subjects.unit_parts(one.unit)
    policy = f"{RESOURCES[kind].kind} {'/'.join(filter(None, (namespace, name)))}"
    return {"change": one.way, "policy": policy, "group": one.group, "what": list(_what(one.before, one.after))}


def _what(before: Any, after: Any) -> Iterator[str]:
    """Which parts of a program differ."""
    if before is None or after is None:
        whole = before or after
        yield f"{len(whole.rules)} rule{'' if len(whole.rules) == 1 else 's'}"
        return
    old, new = ({(rule.direction, rule.index): rule for rule in one.rules} for one in (before, after))
    for direction, index in sorted(old.keys() | new.keys()):
        was, now = old.get((direction, index)), new.get((direction, index))
        if was != now:
            way = "added" if was is None else "removed" if now is None else "changed"
            yield f"{direction} rule {index} {way}"
    for field in ("tier", "priority", "isolates"):
        if getattr(before, field) != getattr(after, field):
            yield f"{field} changed"


def _reach(one: Any) -> dict[str, Any]:
    return {**one._asdict(), "opened": list(one.opened), "closed": list(one.closed)}
