"""DNS names: which addresses Pods were told for them, for how long, and which patterns of rules match them.

The node's rules have patterns. An answer with an address for a matching name is kept, together with the Pod that was
told, until the longest TTL it was told has passed. Flows are made of *facts*: this address belongs to a name that
matches this pattern, and this holder was told so.

The number of facts is limited, per Pod and in total. New ones replace old ones, unless a rule drops or rejects: there,
forgetting would open traffic, so the new answer is refused instead and must not reach the Pod.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.ids import Address, Uid
from sluice.dataplane.addresses import NotAnAddress, address
from sluice.dataplane.dns.message import Told
from sluice.policy import fqdn

MAX_TTL_S = 7 * 24 * 3600
"""Longer TTLs are reduced to this. Source: RFC 8767 section 4."""

NODE = Uid("")
"""In place of a Pod's: the node itself was told, which resolves names ahead of time."""


class Full(ValueError):
    """There is no room for an answer's addresses, and nothing that may be forgotten."""


class Bounds(NamedTuple):
    min_ttl_s: float = 5.0
    """Shorter TTLs are raised to this: a connection begins a moment after the answer."""

    addresses: int = 10_000
    """In total."""

    addresses_per_pod: int = 1_000


class Fact(NamedTuple):
    pattern: str
    address: Address
    holder: Uid


class Known(Struct, frozen=True, array_like=True):
    """One line of the cache, as kept across restarts."""

    name: str
    address: Address
    holder: Uid
    until: float
    """Unix time, s."""


class NamesState(Struct, frozen=True, kw_only=True):
    known: tuple[Known, ...] = ()


class _Line(NamedTuple):
    name: str
    address: Address
    holder: Uid


class Names:
    """The cache. Mutable; times are in seconds, of a monotonic clock."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008  # immutable
        self._bounds = bounds
        self._until: dict[_Line, float] = {}
        self._of_name: dict[str, dict[_Line, None]] = {}
        self._of_holder: dict[Uid, OrderedDict[_Line, None]] = {}
        """The least recently told first."""

        self._order: OrderedDict[_Line, None] = OrderedDict()
        """The same for all holders together."""

        self._ends: list[tuple[float, _Line]] = []
        """A heap with each line at least once, at a time no later than its end."""

        self._wanted: dict[str, bool] = {}
        """Patterns, each with whether a rule drops or rejects by it."""

        self._wild: set[str] = set()
        self._patterns: dict[str, tuple[str, ...]] = {}
        """The wanted patterns that each name matches."""

        self._facts: Counter[Fact] = Counter()
        """Facts, each with the number of names that make it true."""

        self._before: dict[Fact, bool] = {}
        """Facts that changed since the last drain, each with whether it was true then."""

        self.changes = 0
        """Grows whenever `state` may have changed."""

    def __len__(self) -> int:
        return len(self._until)

    @property
    def next_end_s(self) -> float | None:
        """When the next line ends, unless it has been prolonged since; None if there is none."""
        return self._ends[0][0] if self._ends else None

    @property
    def facts(self) -> frozenset[Fact]:
        return frozenset(self._facts)

    @property
    def drained(self) -> bool:
        """Whether no fact changed since the last drain."""
        return not self._before

    def drain(self) -> Iterator[tuple[Fact, bool]]:
        """The facts that became true or false since the last call."""
        before, self._before = self._before, {}
        for fact, was in before.items():
            if (fact in self._facts) != was:
                yield fact, not was

    def want(self, pattern: str, *, closes: bool) -> None:
        """Some rule has the pattern from now on. `closes`: one drops or rejects by it."""
        known = pattern in self._wanted
        self._wanted[pattern] = closes
        if known:
            return
        if "*" in pattern:
            self._wild.add(pattern)
            named = [name for name in self._of_name if fqdn.is_name(pattern, name)]
        else:
            named = [pattern] if pattern in self._of_name else []
        for name in named:
            self._patterns[name] = (*self._patterns[name], pattern)
            for line in self._of_name[name]:
                self._count(Fact(pattern, line.address, line.holder), 1)

    def unwant(self, pattern: str) -> None:
        """No rule has the pattern any more. What is known of its names is kept until it expires."""
        if self._wanted.pop(pattern, None) is None:
            return
        self._wild.discard(pattern)
        named = [name for name, of in self._patterns.items() if pattern in of] if "*" in pattern else [pattern]
        for name in named:
            self._patterns[name] = tuple(other for other in self._patterns.get(name, ()) if other != pattern)
            for line in self._of_name.get(name, ()):
                self._count(Fact(pattern, line.address, line.holder), -1)
            if name not in self._of_name:
                del self._patterns[name]

    def concerns(self, name: str) -> bool:
        """Whether a rule's pattern matches the name."""
        return name in self._wanted or any(fqdn.is_name(pattern, name) for pattern in self._wild)

    def learn(self, holder: Uid, told: Iterable[Told], now_s: float) -> None:
        """Record that the holder was told these now.

        Raises:
            Full: nothing was learnt.
        """
        lines: dict[_Line, float] = {}
        for name, text, ttl_s in told:
            if name in self._of_name or self.concerns(name):
                line, until = _Line(name, text, holder), now_s + min(max(ttl_s, self._bounds.min_ttl_s), MAX_TTL_S)
                lines[line] = max(until, lines.get(line, until))
        self._touch(lines)
        self._make_room(holder, sum(line not in self._until for line in lines))
        for line, until in lines.items():
            self._put(line, until)

    def expire(self, now_s: float) -> None:
        """Forget what has expired."""
        while self._ends and self._ends[0][0] <= now_s:
            _, line = heappop(self._ends)
            until = self._until.get(line)
            if until is None:
                continue
            if until <= now_s:
                self._drop(line)
            else:
                heappush(self._ends, (until, line))

    def forget(self, holders: Iterable[Uid]) -> None:
        """Forget everything that these holders were told."""
        for holder in holders:
            for line in tuple(self._of_holder.get(holder, ())):
                self._drop(line)

    @property
    def holders(self) -> frozenset[Uid]:
        """Those who were told something that is kept."""
        return frozenset(self._of_holder)

    # ----------------------------------------------------------------------------------------------------- persistence

    def state(self, now_s: float, unix_s: float) -> NamesState:
        """What must survive a restart, oldest first."""
        return NamesState(
            known=tuple(
                Known(line.name, line.address, line.holder, round(self._until[line] - now_s + unix_s, 3))
                for line in self._order
                if self._until[line] > now_s
            )
        )

    def restore(self, state: NamesState, now_s: float, unix_s: float) -> None:
        """Restore stored lines that have not expired. If the clock was set back, they still end within MAX_TTL_S."""
        for name, text, holder, until in ((each.name, each.address, each.holder, each.until) for each in state.known):
            left_s = min(until - unix_s, MAX_TTL_S)
            try:
                address(text)
            except NotAnAddress:
                continue
            if left_s > 0 and len(self) < self._bounds.addresses:
                self._put(_Line(name, text, holder), now_s + left_s)

    # ----------------------------------------------------------------------------------------------------------- lines

    def _put(self, line: _Line, until: float) -> None:
        self.changes += 1
        known = self._until.get(line)
        self._until[line] = max(until, known or until)
        if known is not None:
            return
        self._order[line] = None
        self._of_holder.setdefault(line.holder, OrderedDict())[line] = None
        heappush(self._ends, (until, line))
        if len(self._ends) > 2 * len(self._until) + 64:
            self._ends = [(end, each) for each, end in self._until.items()]
            heapify(self._ends)
        of_name = self._of_name.get(line.name)
        if of_name is None:
            of_name = self._of_name[line.name] = {}
            exact = (line.name,) if line.name in self._wanted else ()
            wild = (pattern for pattern in sorted(self._wild) if fqdn.is_name(pattern, line.name))
            self._patterns[line.name] = (*exact, *wild)
        of_name[line] = None
        for pattern in self._patterns[line.name]:
            self._count(Fact(pattern, line.address, line.holder), 1)

    def _drop(self, line: _Line) -> None:
        self.changes += 1
        del self._until[line], self._order[line], self._of_holder[line.holder][line], self._of_name[line.name][line]
        for pattern in self._patterns[line.name]:
            self._count(Fact(pattern, line.address, line.holder), -1)
        if not self._of_holder[line.holder]:
            del self._of_holder[line.holder]
        if not self._of_name[line.name]:
            del self._of_name[line.name], self._patterns[line.name]

    def _count(self, fact: Fact, by: int) -> None:
        number = self._facts[fact]
        self._before.setdefault(fact, number > 0)
        if number + by:
            self._facts[fact] = number + by
        else:
            del self._facts[fact]

    def _touch(self, lines: Iterable[_Line]) -> None:
        for line in lines:
            if line in self._until:
                self._order.move_to_end(line)
                self._of_holder[line.holder].move_to_end(line)

    def _make_room(self, holder: Uid, more: int) -> None:
        """Make room for this many more lines of the holder."""
        own = self._of_holder.get(holder, ())
        bound = self._bounds.addresses if holder == NODE else self._bounds.addresses_per_pod
        going = self._oldest(own, len(own) + more - bound)
        rest = len(self) - len(going) + more - self._bounds.addresses
        going |= self._oldest((line for line in self._order if line not in going), rest)
        for line in going:
            self._drop(line)

    def _oldest(self, lines: Iterable[_Line], count: int) -> set[_Line]:
        """The first `count` of these lines that may be forgotten.

        Raises:
            Full: there are fewer.
        """
        found: set[_Line] = set()
        for line in lines if count > 0 else ():
            if not any(self._wanted.get(pattern) for pattern in self._patterns[line.name]):
                found.add(line)
            if len(found) == count:
                return found
        if count > 0:
            raise Full(f"{len(self)} addresses of domain names are known, which is the maximum")
        return found
