"""Which rules share which flow, indexed so that a change costs only the flows it touches.

A flow's content is the union of what refers to its value's sources. A source that no rule refers to is not kept,
however many members its group has.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.ids import RuleKey
from sluice.dataplane.ovs.layers import Layer, clause
from sluice.dataplane.ovs.sources import Bringer, Source, Value


class Ref(NamedTuple):
    """A rule's reference to a source."""

    key: RuleKey
    id: int
    says: FlowBody | Conjunction
    """The rule's actions if it is plain, otherwise its clause. All references in a layer are of the same kind."""


class _Kept:
    """A source that rules refer to. Compared by identity, which makes tuples of them fast keys."""

    __slots__ = ("alone", "refs", "source", "values")

    def __init__(self, source: Source, brought: list[Value]) -> None:
        self.source = source
        self.alone = (self,)
        """The holders of every value that no other source has: one object shared by all of these values."""

        self.values = dict.fromkeys(brought, 1)
        """How many members bring each value: an address may come twice, from two pages, and go once."""

        if len(self.values) < len(brought):
            self.values = dict(Counter(brought))

        self.refs: dict[Layer, dict[int, Ref]] = {}
        """By layer and rule id."""


class Index:
    """Sources, the rules that refer to them, and the flows to rewrite.

    Args:
        bring: returns all values of a source, once rules refer to it; a value that comes twice counts twice.
    """

    def __init__(self, bring: Callable[[Source], Iterable[Value]]) -> None:
        self._bring = bring
        self._kept: dict[Source, _Kept] = {}
        self._of_group: dict[Bringer, dict[Source, _Kept]] = {}
        self._holders: dict[Value, tuple[_Kept, ...]] = {}
        self._stale: dict[Layer, dict[Value, int]] = {}
        """By layer. Dicts, because they merge without rehashing; their values mean nothing."""

    def of_group(self, group: Bringer) -> tuple[Source, ...]:
        """The kept sources that get their values from the group."""
        return tuple(self._of_group.get(group, ()))

    def size(self, source: Source) -> int:
        """How many values the source has; 0 if no rule refers to it."""
        kept = self._kept.get(source)
        return len(kept.values) if kept else 0

    def refer(self, layer: Layer, source: Source, ref: Ref) -> None:
        """Add the rule's reference to this source in this layer."""
        kept = self._kept.get(source) or self._keep(source)
        kept.refs.setdefault(layer, {})[ref.id] = ref
        self._stale.setdefault(layer, {}).update(kept.values)

    def withdraw(self, layer: Layer, source: Source, id: int) -> None:
        """Remove the rule's reference to this source in this layer."""
        kept = self._kept[source]
        del kept.refs[layer][id]
        self._stale.setdefault(layer, {}).update(kept.values)
        if not kept.refs[layer]:
            del kept.refs[layer]
            if not kept.refs:
                self._drop(kept)

    def count(self, source: Source, values: Iterable[Value], by: int) -> None:
        """One member more (`by` is 1) or fewer (-1) brings each value."""
        kept = self._kept[source]
        for value in values:
            number = kept.values.get(value, 0)
            if number + by:
                kept.values[value] = number + by
            else:
                del kept.values[value]
            if number == 0:
                self._hold(kept, value)
            elif number + by == 0:
                self._let_go(kept, value)
            else:
                continue
            for layer in kept.refs:
                self._stale.setdefault(layer, {})[value] = 0

    def refresh(self) -> Iterator[tuple[Flows, list[FlowKey]]]:
        """The flows that may have changed since the last call, by layer: their current bodies, and the removed keys."""
        stale, self._stale = self._stale, {}
        for layer, values in stale.items():
            yield self._flows(layer, values)

    def _flows(self, layer: Layer, values: Iterable[Value]) -> tuple[Flows, list[FlowKey]]:
        held, bodies = self._holders, dict[tuple[_Kept, ...], FlowBody | None]()
        flows, gone = Flows(), list[FlowKey]()
        holders: tuple[_Kept, ...] = ()
        body: FlowBody | None = None
        for value, key in zip(values, layer.keys(values), strict=True):
            if (now := held.get(value, ())) is not holders:
                holders = now
                if holders not in bodies:
                    bodies[holders] = _body(layer, holders)
                body = bodies[holders]
            if body is None:
                gone.append(key)
            else:
                flows[key] = body
        return flows, gone

    def _keep(self, source: Source) -> _Kept:
        kept = self._kept[source] = _Kept(source, list(self._bring(source)))
        if source.group is not None:
            self._of_group.setdefault(source.group, {})[source] = kept
        if len(set(kept.values).difference(self._holders)) == len(kept.values):
            self._holders.update(dict.fromkeys(kept.values, kept.alone))
        else:
            for value in kept.values:
                self._hold(kept, value)
        return kept

    def _drop(self, kept: _Kept) -> None:
        del self._kept[kept.source]
        group = kept.source.group
        if group is not None:
            del self._of_group[group][kept.source]
            if not self._of_group[group]:
                del self._of_group[group]
        for value in kept.values:
            self._let_go(kept, value)

    def _hold(self, kept: _Kept, value: Value) -> None:
        others = self._holders.get(value)
        self._holders[value] = (*others, kept) if others else kept.alone

    def _let_go(self, kept: _Kept, value: Value) -> None:
        rest = tuple(other for other in self._holders[value] if other is not kept)
        if rest:
            self._holders[value] = rest
        else:
            del self._holders[value]


def _body(layer: Layer, holders: tuple[_Kept, ...]) -> FlowBody | None:
    refs: dict[int, Ref] = {}
    for kept in holders:
        refs |= kept.refs.get(layer, {})
    if not refs:
        return None
    conjunctions = [ref.says for ref in refs.values() if isinstance(ref.says, Conjunction)]
    if conjunctions:
        assert len(conjunctions) == len(refs), f"{layer}: plain rules and clauses share a priority"
        return clause(conjunctions)
    first = min(refs.values(), key=attrgetter("key")).says
    assert isinstance(first, FlowBody)
    return first
