"""One transaction that makes the kernel's table what it must be; nft(8) applies all of it or nothing.

So there is no intermediate state. Counters keep their values as long as their rule stays, and if only set elements
change, nothing else is touched.
"""

from collections.abc import Iterator

from sluice.dataplane.host import wire
from sluice.dataplane.host.table import Kind, Set
from sluice.dataplane.host.wire import Held, Json

Commands = tuple[Json, ...]


def plan(desired: Held, actual: Held) -> Commands:
    """Commands of libnftables for one transaction; empty if there is nothing to do."""
    return tuple(_plan(desired, actual))


def _plan(desired: Held, actual: Held) -> Iterator[Json]:
    if not desired.is_there:
        if actual.is_there:
            yield {"delete": wire.THE_TABLE}
        return
    if actual.strange or actual.log_rate not in (0, desired.log_rate) or _rehooked(desired, actual):
        yield {"delete": wire.THE_TABLE}
        actual = wire.NOT_THERE
    changed = {name: made for name, made in desired.chains.items() if actual.chains.get(name) != made}
    gone = sorted(actual.chains.keys() - desired.chains.keys())
    yield from _objects(desired, actual)
    for name, made in changed.items():
        if name not in actual.chains:
            yield {"add": wire.chain(name, made.hook)}
    for name in [*(name for name in changed if name in actual.chains), *gone]:
        yield {"flush": wire.chain(name, None)}
    for name, made in changed.items():
        for line in made.lines:
            yield {"add": wire.rule(name, line)}
    for name in gone:
        yield {"delete": wire.chain(name, None)}
    for name in sorted(actual.sets.keys() - desired.sets.keys()):
        yield {"delete": wire.named("set", name)}
    for name in sorted(actual.counters - desired.counters):
        yield {"delete": wire.named("counter", name)}


def _objects(desired: Held, actual: Held) -> Iterator[Json]:
    """The objects that chains refer to, and the elements of sets."""
    if not actual.is_there:
        yield {"add": wire.THE_TABLE}
    if not actual.log_rate:
        yield {"add": wire.limit(desired.log_rate)}
    for name in sorted(desired.counters - actual.counters):
        yield {"add": wire.named("counter", name)}
    for name, made in sorted(desired.sets.items()):
        held = actual.sets.get(name)
        if held is None:
            yield {"add": wire.set_(name, made)}
        if held is not made:
            yield from _elements(name, made, held)


def _elements(name: str, made: Set, held: Set | None) -> Iterator[Json]:
    before = held.elements if held is not None else frozenset()
    if made.kind is Kind.RANGES and before - made.elements:
        yield {"flush": wire.named("set", name)}  # old and new ranges may overlap
        before = frozenset()
    if less := before - made.elements:
        yield {"delete": wire.elements(name, made.version, made.kind, less)}
    if more := made.elements - before:
        yield {"add": wire.elements(name, made.version, made.kind, more)}


def _rehooked(desired: Held, actual: Held) -> bool:
    """Whether a chain or a set exists with properties that cannot be changed in place."""
    chains = any(
        name in actual.chains and actual.chains[name].hook != made.hook for name, made in desired.chains.items()
    )
    kinds = ((made, actual.sets[name]) for name, made in desired.sets.items() if name in actual.sets)
    return chains or any((made.version, made.kind) != (held.version, held.kind) for made, held in kinds)
