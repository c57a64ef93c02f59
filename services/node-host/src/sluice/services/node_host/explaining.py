"""Explains whom a line of this node's nftables table belongs to."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from sluice.contracts.explaining import Held, Meaning
from sluice.contracts.ids import Revision
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.host import text
from sluice.dataplane.host.engine import Placed
from sluice.dataplane.host.ids import id_of
from sluice.dataplane.host.table import Line
from sluice.runtime.telling import NotOurs, Page, Place, cut, held, window
from sluice.services.node_host.programmer import Programmer

RULE = re.compile(r"\br[0-9a-f]{16}\b")

_COMMENT = re.compile(r'comment "([^"]*)"')


class _At(NamedTuple):
    chain: str
    number: int
    line: Line


class Explaining:
    """The lines that the programmer wants in the kernel."""

    def __init__(self, facts: Programmer) -> None:
        self._facts = facts

    @property
    def upto(self) -> Revision:
        return self._facts.upto

    async def meaning(self, text: str) -> Meaning:
        """Explain a line: as shown by `nft list table inet sluice`, its comment, or the rule id that this starts with.

        Raises:
            NotOurs
        """
        if found := RULE.search(text):
            placed = self._facts.rules.get(found[0])
            if placed is None:
                raise NotOurs(f"{found[0]}: no rule with this id is in force on this node")
            return _of_rule(placed)
        said = _COMMENT.search(text)
        for one in self._all():
            if one.line.comment == (said[1] if said else text.strip()):
                return self._meaning(one)
        raise NotOurs("the text has no comment of Sluice; that of a rule begins with r and 16 hexadecimal digits")

    async def page(self, after: str, limit: int) -> Page:
        """Lines by chain, in the order in which packets meet them.

        Raises:
            NotOurs
        """
        there: dict[Place, _At] = {(one.chain, one.number): one for one in self._all()}
        return cut(((place, self._held(there[place])) for place in window(there, after, limit)), limit)

    def _all(self) -> Iterator[_At]:
        for name, chain in self._facts.table().chains.items():
            for number, line in enumerate(chain.lines):
                yield _At(name, number, line)

    def _held(self, one: _At) -> Held:
        return held(text.line(one.line), self._meaning(one))

    def _meaning(self, one: _At) -> Meaning:
        place = (f"chain {one.chain}",)
        placed = self._facts.rules.get(id_of(one.line.comment))
        if placed is not None:
            return _of_rule(placed, place)
        kind = "lifeline" if one.line.comment.startswith("lifeline: ") else "base"
        return Meaning(kind=kind, says=one.line.comment, table=one.chain, does=_does(one.chain), places=place)


def _of_rule(placed: Placed, places: tuple[str, ...] = ()) -> Meaning:
    program, rule = placed
    told = DecidingRule(
        policy=program.origin,
        object_revision=program.cause,
        direction=rule.direction,
        index=rule.index,
        name=rule.name,
        action=rule.action,
    )
    chain = places[0].removeprefix("chain ") if places else ""
    says = "does what a rule about Nodes says"
    return Meaning(kind="rule", says=says, table=chain, does=_does(chain), rules=(told,), places=places)


def _does(chain: str) -> str:
    """The purpose of the chain."""
    match chain.split("."):
        case ["input" | "output"]:
            return "comes first for all packets of the hook"
        case [_, "rules"]:
            return "applies the rules of tiers, in order"
        case [_, "baseline"]:
            return "applies the rules of the baseline, in order"
        case [_, "again", *_]:
            return "decides whether allowed connections may go on"
        case ["do" | "end", _]:
            return "does what one rule says"
        case _:
            return ""
