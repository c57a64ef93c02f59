"""Which openings each address has at one hook, maintained incrementally.

Rules open ports to IP blocks with excepts, and to single addresses of group members. The result is a table of prefixes
decided by longest match; a prefix with the same openings as the one that encloses it is left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sluice.dataplane.addresses import WIDTH, Block
from sluice.dataplane.tc.openings import NOTHING, Openings, union


class Standing(NamedTuple):
    """Openings to a block of addresses without its excepts, independent of group members."""

    block: Block
    excepts: tuple[Block, ...]
    openings: Openings


EVERYWHERE = (Block(4, 0, 0), Block(6, 0, 0))


class Board:
    """The table of one hook. Standing openings are given once; members come and go."""

    def __init__(self, standing: Iterable[Standing]) -> None:
        self._standing: dict[tuple[int, int], dict[int, list[Standing]]] = {}  # (version, prefix length), value
        self._marked: dict[tuple[int, int], dict[int, Openings]] = {}
        """The openings at each block of a rule, and at each except."""

        self._members: dict[Block, Counter[Openings]] = {}
        self._table: dict[Block, Openings] = {}
        self._before: dict[Block, Openings | None] = {}
        given = [one for one in standing if one.openings]
        for one in given:
            level = self._standing.setdefault((one.block.version, one.block.prefix), {})
            level.setdefault(one.block.value, []).append(one)
        blocks = {block for one in given for block in (one.block, *one.excepts)}
        for block in sorted(blocks, key=lambda block: block.prefix):
            self._marked.setdefault((block.version, block.prefix), {})[block.value] = self._standing_at(block)
        for block in blocks:
            self._settle(block)

    @property
    def table(self) -> Mapping[Block, Openings]:
        """The openings by prefix; the longest match decides."""
        return self._table

    def drain(self) -> dict[Block, Openings | None]:
        """Changes since the last call; None: the prefix is no longer in the table."""
        changed = {block: self._table.get(block) for block in self._before}
        before, self._before = self._before, {}
        return {block: now for block, now in changed.items() if now != before[block]}

    def count(self, address: Block, openings: Openings, by: int) -> None:
        """Change by `by` the number of members with these openings at the address."""
        if not openings:
            return
        held = self._members.setdefault(address, Counter())
        held[openings] += by
        if held[openings] <= 0:
            del held[openings]
            if not held:
                del self._members[address]
        self._settle(address)

    def _settle(self, block: Block) -> None:
        """Update the table at one prefix; no longer prefix depends on it, see `_around`."""
        has = self._standing_at(block)
        if block.prefix == WIDTH[block.version]:
            has = union((has, *self._members.get(block, ())))
        now = None if has == self._around(block) else has
        if now != self._table.get(block):
            self._before.setdefault(block, self._table.get(block))
            if now is None:
                del self._table[block]
            else:
                self._table[block] = now

    def _standing_at(self, block: Block) -> Openings:
        return union(one.openings for one in self._about(block) if not any(hole.covers(block) for hole in one.excepts))

    def _about(self, block: Block) -> Iterator[Standing]:
        """The standing openings whose block contains this one."""
        width = WIDTH[block.version]
        for (version, prefix), level in self._standing.items():
            if version == block.version and prefix <= block.prefix:
                yield from level.get(block.value >> (width - prefix) << (width - prefix), ())

    def _around(self, block: Block) -> Openings:
        """The openings at the enclosing block, whether or not the table contains it: blocks do not change."""
        width = WIDTH[block.version]
        around = [p for version, p in self._marked if version == block.version and p < block.prefix]
        for prefix in sorted(around, reverse=True):
            has = self._marked[block.version, prefix].get(block.value >> (width - prefix) << (width - prefix))
            if has is not None:
                return has
        return NOTHING
