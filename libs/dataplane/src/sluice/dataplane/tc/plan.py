"""How to get a hook from what it holds to what it must hold.

A change of policy is a new generation: all its chains are built where no packet goes, then the root is replaced, then
the old chains are removed. A change of members is a patch: one filter per address added, replaced or deleted, in place.
Both keep law 5: after every prefix of the plan, a packet that both states pass is passed, and one that both drop is
dropped.

Anything in the kernel that is not as it should be is never repaired in place: a new generation replaces it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sluice.dataplane.addresses import Block
from sluice.dataplane.tc.content import Content, Mode, Numbers
from sluice.dataplane.tc.filter import FilterBody, FilterKey, Filters, Goto, Hook
from sluice.dataplane.tc.lower import (
    GRACE_PREFS,
    address_filters,
    chain_places,
    lower,
    next_epoch,
    ports_chain,
    root,
    target_of,
)
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.openings import EVERYTHING, NOTHING, Opening, Openings, covers, union
from sluice.dataplane.tc.operations import (
    AddFilter,
    DeleteChain,
    DeleteFilter,
    Operation,
    ReplaceFilter,
    Settle,
)
from sluice.dataplane.tc.owner import CookieKind, Place, chain, generation_of, place_of, unpack


class Step(NamedTuple):
    hook: Hook
    operation: Operation


Contents = Mapping[Hook, Content]
Mirrors = Mapping[Hook, Mirror]


def plan(desired: Contents, actual: Mirrors, zone: int | None, *, revoke: bool = False) -> list[Step]:
    """The change that makes both hooks of an interface what they must be; empty if they are.

    If one needs a new generation, both get one, and connections a new epoch: the new policy checks the initiator of
    each connection again. Replies of the previous epoch still pass, until `retire`.

    Args:
        zone: conntrack zone of the interface; None on kernels without zones, where connections outlive their policy,
            and for an interface that is to be open.
        revoke: make a new epoch in any case, in which no reply of the previous one passes.
    """
    epoch = _epoch(actual)
    patches: dict[Hook, list[Operation]] = {}
    for hook in Hook:
        made = None if revoke else _patched(desired[hook], actual[hook], hook, Numbers(zone, epoch))
        if made is None:
            return _in_stages(desired, actual, zone, grace=not revoke)
        patches[hook] = made
    return [Step(hook, operation) for hook, operations in patches.items() for operation in operations]


def patch(
    content: Content, changed: Mapping[Block, Openings | None], actual: Mirror, hook: Hook
) -> list[Operation] | None:
    """The change of these addresses only, at a cost that does not depend on how many addresses there are.

    Args:
        content: the content after the change.
        changed: the openings of each changed address; None: it is no longer in the table.
        actual: holds this content, except for the change.

    Returns:
        None if the change cannot be made in place; `plan` can make it.
    """
    generation = actual.generation
    if generation is None or actual.root is None or actual.root.body != root(content, generation)[1]:
        return None
    if content.mode is not Mode.POLICED:
        return [] if not changed else None
    places = chain_places({openings for openings in changed.values() if openings is not None})
    operations: list[Operation] = []
    for shared, place in sorted(places.items()):
        number = chain(generation, place)
        wanted = dict(ports_chain(content, shared, number))
        there = {key: actual.filters[key].body for key in actual.in_chain(number)}
        if not there:
            operations += _adds(wanted)
        elif there != wanted:
            return None  # a hash collision: another set has the place of this one's chain
    left: Counter[int] = Counter()
    taken: Counter[tuple[int, int]] = Counter()
    put: list[Operation] = []
    removed: list[Operation] = []
    for block, openings in sorted(changed.items()):
        action = target_of(openings or (), places, generation)
        for key, body in address_filters(content, hook, block, action, generation):
            standing = actual.filters.get(key)
            if openings is None:
                removed += [DeleteFilter(key, standing.handle)] if standing else []
            elif standing is None:
                put.append(AddFilter(key, actual.free_handle(key) + taken[key.chain, key.pref], body))
                taken[key.chain, key.pref] += 1
            elif standing.body != body:
                put.append(ReplaceFilter(key, standing.handle, body))
            _count(left, standing.body if standing else None, -1)
            _count(left, None if openings is None else body, 1)
    ended = [number for number, by in sorted(left.items()) if by < 0 and actual.users(number) + by == 0]
    ended = [number for number in ended if place_of(number) >= Place.PORTS]
    settle: list[Operation] = [Settle()] if ended else []
    return [*operations, *put, *removed, *settle, *(DeleteChain(number) for number in ended)]


def narrowed(operations: Sequence[Operation], before: Mirror) -> frozenset[Block]:
    """Addresses where less is open after a patch: once it is applied, their connections must lose their marks.

    Then the initiators are checked again, and not let through. The connections must not be deleted: the first packet of
    the other end would begin a new one. A new generation does not need this, because epochs take care of it.
    """
    added = {one.key: one.body for one in operations if isinstance(one, AddFilter)}

    def opened(body: FilterBody) -> Openings:
        match body.actions:
            case (Goto(number),) if place_of(number) == Place.ACCEPT:
                return EVERYTHING
            case (Goto(number),):
                held = {key: before.filters[key].body for key in before.in_chain(number)}
                told = [unpack(one.cookie) for key, one in (held | added).items() if key.chain == number]
                return union((Opening.of(said.reference),) for said in told if said and said.kind is CookieKind.PORT)
            case _:
                return NOTHING

    found = set()
    for one in operations:
        if isinstance(one, DeleteFilter | ReplaceFilter):
            block, standing = one.key.match.destination or one.key.match.source, before.filters.get(one.key)
            now = opened(one.body) if isinstance(one, ReplaceFilter) else NOTHING
            if block is not None and standing is not None and not covers(now, opened(standing.body)):
                found.add(block)
    return frozenset(found)


def retire(actual: Mirror) -> list[Operation]:
    """Stop passing replies of the previous epoch; to be called once connections had time to be checked again."""
    if actual.generation is None:
        return []
    keys = actual.in_chain(chain(actual.generation, Place.CLASSES))
    return [DeleteFilter(key, actual.filters[key].handle) for key in sorted(keys, key=_order) if _is_grace(key)]


def sweep(actual: Mirror) -> list[Operation]:
    """Remove everything of ours: the interface is no longer managed."""
    key, standing = actual.root_key, actual.root
    first: list[Operation] = [DeleteFilter(key, standing.handle), Settle()] if key and standing else []
    return first + [DeleteChain(number) for number in actual.chains]


def _in_stages(desired: Contents, actual: Mirrors, zone: int | None, *, grace: bool) -> list[Step]:
    """A new generation; preceded by a tracking-only one if policing hooks would otherwise stand beside open ones.

    A policing hook drops replies of connections that the other hook let through without tracking them.
    """
    opens = all(content.mode is Mode.OPEN for content in desired.values())
    polices = all(content.mode is Mode.POLICED for content in desired.values())
    was_open = all(mirror.root is None for mirror in actual.values())
    if not (opens and all(mirror.polices for mirror in actual.values())) and not (polices and was_open):
        return _anew(desired, actual, zone, grace=grace)
    if opens:
        zone = next((mirror.zone for mirror in actual.values() if mirror.zone is not None), None)
    between = {hook: Content(Mode.TRACKED, tagged=desired[hook].tagged or actual[hook].tagged) for hook in Hook}
    first = _anew(between, actual, zone, grace=grace)
    after = {hook: Mirror(mirror.filters) for hook, mirror in actual.items()}
    for hook, operation in first:
        after[hook].apply((operation,))
    return first + _anew(desired, after, zone, grace=grace)


def _anew(desired: Contents, actual: Mirrors, zone: int | None, *, grace: bool) -> list[Step]:
    numbers = Numbers(zone, 0 if zone is None else next_epoch(_epoch(actual)))
    built: list[Step] = []
    swapped: list[Step] = []
    ended: list[Step] = []
    for hook in sorted(Hook, key=lambda hook: _turn(desired[hook], actual[hook])):
        content, mirror = desired[hook], actual[hook]
        if content.mode is Mode.OPEN:
            swept = sweep(mirror)
            swapped += [Step(hook, one) for one in swept if isinstance(one, DeleteFilter)]
            ended += [Step(hook, one) for one in swept if isinstance(one, DeleteChain)]
            continue
        generation = 1 - mirror.generation if mirror.generation is not None else 0
        wanted = lower(content, hook, numbers, generation)
        if not grace:
            wanted = {key: body for key, body in wanted.items() if not _is_grace(key)}
        root_key, root_body = root(content, generation)
        del wanted[root_key]
        litter = [number for number in mirror.chains if generation_of(number) == generation]
        built += [Step(hook, DeleteChain(number)) for number in litter]
        built += [Step(hook, one) for one in _adds(wanted)]
        standing = mirror.filters.get(root_key)
        swap = ReplaceFilter(root_key, standing.handle, root_body) if standing else AddFilter(root_key, 1, root_body)
        stray = mirror.root_key
        if stray is not None and stray != root_key and mirror.root is not None:
            swapped.append(Step(hook, DeleteFilter(stray, mirror.root.handle)))
        swapped.append(Step(hook, swap))
        ended += [Step(hook, DeleteChain(number)) for number in mirror.chains if number not in litter]
    settle = [Step(ended[0].hook, Settle())] if ended else []
    return built + swapped + settle + ended


def _turn(desired: Content, actual: Mirror) -> int:
    """Order of swapping: no hook may require connections that the other does not track yet, or no longer tracks."""
    if desired.mode is Mode.TRACKED or (desired.mode is Mode.OPEN and actual.polices):
        return 0
    return 1


def _patched(content: Content, actual: Mirror, hook: Hook, numbers: Numbers) -> list[Operation] | None:
    """The patch that makes the hook hold the content; None if it needs a new generation."""
    if content.mode is Mode.OPEN:
        return None if actual.filters else []
    generation = actual.generation
    if generation is None or actual.zone != (numbers.zone if content.mode is not Mode.CLOSED else None):
        return None
    wanted = lower(content, hook, numbers, generation)
    classes = chain(generation, Place.CLASSES)
    changed: dict[Block, Openings | None] = {}
    for key, standing in actual.filters.items():
        if wanted.get(key) != standing.body:
            if place_of(key.chain) >= Place.PORTS and key not in wanted:
                continue  # a chain that the patch removes, or an unknown one
            block = key.match.destination or key.match.source
            if key.chain != classes or block is None:
                return None
            changed[block] = content.addresses.get(block)
    for key in wanted.keys() - actual.filters.keys():
        block = key.match.destination or key.match.source
        if key.chain == classes and block is not None:
            changed[block] = content.addresses.get(block)
        elif not _is_grace(key) and not (place_of(key.chain) >= Place.PORTS and not actual.users(key.chain)):
            return None
    made = patch(content, changed, actual, hook)
    if made is None:
        return None
    after = Mirror(actual.filters)
    after.apply(made)
    held = {key: standing.body for key, standing in after.filters.items()}
    kept = {key: body for key, body in wanted.items() if key in held or not _is_grace(key)}
    return made if held == kept else None


def _adds(wanted: Filters) -> list[Operation]:
    """All filters of new chains, the last of each chain first: a chain without its last filter passes everything."""
    handles: dict[tuple[int, int], int] = {}
    operations: list[Operation] = []
    for key in sorted(wanted, key=lambda key: (key.chain, -key.pref)):
        place = key.chain, key.pref
        handles[place] = handles.get(place, 0) + 1
        operations.append(AddFilter(key, handles[place], wanted[key]))
    return operations


def _count(left: Counter[int], body: FilterBody | None, by: int) -> None:
    for action in body.actions if body else ():
        if isinstance(action, Goto):
            left[action.chain] += by


def _epoch(actual: Mirrors) -> int:
    return max(mirror.epoch for mirror in actual.values())


def _is_grace(key: FilterKey) -> bool:
    return key.chain != 0 and place_of(key.chain) == Place.CLASSES and key.pref in GRACE_PREFS


def _order(key: FilterKey) -> tuple[int, int]:
    return key.chain, key.pref
