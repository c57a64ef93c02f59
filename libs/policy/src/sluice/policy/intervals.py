"""Sets of ports as sorted, disjoint, non-adjacent intervals; both ends are inclusive."""

from collections.abc import Iterable

Ports = tuple[tuple[int, int], ...]

NO_PORTS: Ports = ()
ALL_PORTS: Ports = ((1, 65_535),)
"""Source: RFC 9293, section 3.1; nothing can connect to port 0."""


def joined(*sets: Iterable[tuple[int, int]]) -> Ports:
    """The union."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(one for ports in sets for one in ports):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def common(one: Ports, other: Ports) -> Ports:
    """The intersection."""
    return tuple(
        (max(first, low), min(last, high))
        for first, last in one
        for low, high in other
        if first <= high and low <= last
    )


def without(one: Ports, other: Ports) -> Ports:
    """The difference: what is in `one` but not in `other`."""
    left = list(one)
    for low, high in other:
        left = [
            piece
            for first, last in left
            for piece in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if piece[0] <= piece[1]
        ]
    return tuple(left)
