"""What DNS told the Pods of this node, folded into the engine. No I/O.

The content of a response enters the engine before the programmer's next change, so that this change includes it.
"""

from collections.abc import Callable, Iterable
from math import ceil
from typing import NamedTuple

from sluice.contracts.ids import Address, Uid
from sluice.dataplane.dns.message import Answer, Told, Unreadable
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.fqdn import NODE, Bounds, Full, Names, NamesState
from sluice.dataplane.ovs.fqdn_ahead import Ahead
from sluice.dataplane.ovs.fqdn_answers import Reader
from sluice.dataplane.ovs.fqdn_values import Opens

GRID_S = 0.25
"""Expiries within this time of each other share one change."""


class NoPod(Unreadable):
    """The response is for an address that no open port has."""


class NamingRules(NamedTuple):
    """How FQDN rules are handled on a node."""

    opens: Opens = Opens.RESOLVER
    bounds: Bounds = Bounds()
    servers: tuple[Address, ...] = ()
    """DNS servers whose responses are trusted; empty: all."""

    ahead: bool = True
    """Whether the node itself resolves names without wildcards."""


class Naming:
    def __init__(self, engine: Engine, rules: NamingRules) -> None:
        self._engine, self._rules = engine, rules
        self.names = Names(rules.bounds)
        self._reader = Reader(rules.servers)
        self._ahead = Ahead()

    @property
    def holds(self) -> bool:
        """Some rule is about names, so DNS responses are held."""
        return bool(self._engine.names)

    @property
    def next_s(self) -> float | None:
        """When the next name expires, rounded up to the grid."""
        end = self.names.next_end_s
        return None if end is None else ceil(end / GRID_S) * GRID_S

    @property
    def next_question_s(self) -> float | None:
        """When the next name is due to be resolved."""
        return self._ahead.next_s

    def questions(self, now_s: float) -> list[str]:
        """The names to resolve now; call `told_ahead` for each."""
        return self._ahead.due(now_s)

    def told_ahead(self, name: str, answers: Iterable[Answer] | None, now_s: float) -> None:
        """Take in the node's own lookup of the name; None if it was not answered."""
        told = [one for answer in answers or () for one in answer.told]
        if not told or not self._learn(told, now_s):
            self._ahead.failed(name, now_s)
        else:
            self._ahead.told(name, min((one.ttl_s for one in told if one.name == name), default=0), now_s)

    def hear(self, octets: bytes, holder_of: Callable[[Address], Uid | None], now_s: float) -> bool:
        """Take in a held packet; returns whether it must wait until the switch has what it says.

        Raises:
            Unreadable, Full: it must not pass.
        """
        heard = self._reader.read(octets)
        if not heard.answers:
            return heard.again
        holder = holder_of(heard.client)
        if holder is None:
            self._reader.refuse(octets)
            raise NoPod(f"{heard.client} is not the address of a Pod on this node")
        try:
            self.names.learn(holder, (one for answer in heard.answers for one in answer.told), now_s)
        except Full:
            self._reader.refuse(octets)
            raise
        return True

    def left(self, pods: Iterable[Uid], addresses: Iterable[Address]) -> None:
        """Forget all Pods but these, which are still on the node, and these addresses, which no Pod has any more."""
        self.names.forget(self.names.holders - {NODE, *pods})
        for address in addresses:
            self._reader.forget(address)

    def settle(self, now_s: float) -> None:
        """Bring the engine up to date: it learns all current facts and forgets the expired ones."""
        for pattern, closes in self._engine.names.drain():
            if closes is None:
                self.names.unwant(pattern)
                self._ahead.unwant(pattern)
                continue
            self.names.want(pattern, closes=closes)
            if self._rules.ahead and "*" not in pattern:
                if closes or self._rules.opens is not Opens.RESOLVER:
                    self._ahead.want(pattern, now_s)
                else:
                    self._ahead.unwant(pattern)  # it would open nothing
        self.names.expire(now_s)
        for fact, true in self.names.drain():
            self._engine.tell(fact, true=true)

    def state(self, now_s: float, unix_s: float) -> NamesState:
        return self.names.state(now_s, unix_s)

    def _learn(self, told: Iterable[Told], now_s: float) -> bool:
        try:
            self.names.learn(NODE, told, now_s)
        except Full:
            return False
        return True
