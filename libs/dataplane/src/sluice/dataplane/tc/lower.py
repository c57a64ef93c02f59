"""Lowers content to filters: the pipeline, as data.

`filter` explains the chains. Preferences within our chains, lower first; each has one protocol, and no two filters with
one preference match the same packet and do different things:

    entry     1 ARP, 2 neighbour discovery, 3 ICMP and 4 ICMPv6 if accepted, 5 IPv4, 6 IPv6,
              11 to 16 the same in VLAN tags, 65535 the rest
    classes   1 invalid, 2 to 7 known connections by epoch, 8 other replies, then addresses:
              256 + (32 - prefix) IPv4, 512 + (128 - prefix) IPv6, 1024 and 1280 the same in VLAN tags, 65535 the rest
    ports     1 IPv4, 2 IPv6, 3 and 4 the same in VLAN tags, 65535 the rest
    accept    1

*Epochs.* A connection is marked with the epoch of the generation that allowed it. Packets of connections with the mark
of this generation pass. After a change, the initiator of a connection is checked again: its packets go through the
classes, and the connection is marked anew if it is still allowed. Replies cannot be checked, so those with the mark of
the previous epoch pass until that is retired, and those with the mark of the next epoch pass already: the other hook of
the interface may switch first.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sluice.contracts import codec
from sluice.contracts.programs import PortRange
from sluice.dataplane.addresses import WIDTH, Block
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.content import Content, Mode, Numbers, Options
from sluice.dataplane.tc.filter import (
    ANY,
    LAST,
    Accept,
    AnyAction,
    Bits,
    Ct,
    CtState,
    Drop,
    FilterBody,
    FilterKey,
    Filters,
    Flower,
    Goto,
    Hook,
)
from sluice.dataplane.tc.openings import ALL_PROTOCOLS, EVERYTHING, NOTHING, Opening, Openings
from sluice.dataplane.tc.owner import PLACE_MASK, ROOT_PREF, CookieKind, Place, chain, pack

NEIGHBOUR_DISCOVERY = (133, 134, 135, 136, 137)
"""Types of ICMPv6: solicitation and advertisement of routers and neighbours, redirect. Source: RFC 4861, section 4."""

GRACE_PREFS = (6, 7)
"""In the chain of classes: replies of the previous epoch."""

_REPLY = 8
_V4, _V6, _VLAN = 256, 512, 768
_MARK = 0xFFFF_FFFF


class Variant(NamedTuple):
    """A form in which IP arrives: the filter's protocol, and the EtherType in the tag."""

    version: int
    protocol: int
    vlan_ethtype: int | None

    def flower(self, **keys: object) -> Flower:
        return Flower(vlan_ethtype=self.vlan_ethtype, **keys)  # type: ignore[arg-type]  # keys are its fields


_PLAIN = (Variant(4, EthType.IPV4, None), Variant(6, EthType.IPV6, None))
_TAGGED = (Variant(4, EthType.VLAN, EthType.IPV4), Variant(6, EthType.VLAN, EthType.IPV6))


def variants(content: Content) -> tuple[Variant, ...]:
    return _PLAIN + _TAGGED if content.tagged else _PLAIN


def lower(content: Content, hook: Hook, numbers: Numbers, generation: int) -> Filters:
    """All filters of the hook, with the root in this generation; they depend on the content, not on what was before."""
    if content.mode is Mode.OPEN:
        return {}
    places = chain_places(set(content.addresses.values()))
    filters: Filters = dict((root(content, generation),))
    filters.update(_entry(content, numbers, generation))
    if content.mode is Mode.CLOSED:
        return filters
    filters.update(_classes(content, numbers, generation))
    filters.update(_accept(numbers, generation))
    if content.mode is Mode.POLICED:
        for openings, place in places.items():
            filters.update(ports_chain(content, openings, chain(generation, place)))
        for block, openings in content.addresses.items():
            target = target_of(openings, places, generation)
            filters.update(address_filters(content, hook, block, target, generation))
    return filters


def root(content: Content, generation: int) -> tuple[FilterKey, FilterBody]:
    """The filter that directs packets to a generation."""
    cookie = pack(CookieKind.ROOT, content.digest)
    return FilterKey(0, ROOT_PREF, EthType.ALL), FilterBody((Goto(chain(generation, Place.ENTRY)),), cookie)


def chain_places(sets: Iterable[Openings]) -> dict[Openings, int]:
    """Places of the chains for these sets in each generation; sets that need no chain of their own are omitted.

    A place is a hash of the chain's content, so that it does not depend on other chains; on a collision, the greater
    set moves on.
    """
    places: dict[Openings, int] = {}
    taken: set[int] = set()
    for openings in sorted(sets):
        if openings in (NOTHING, EVERYTHING):
            continue
        place = _hash(openings)
        while place < Place.PORTS or place in taken:
            place = (place + 1) & PLACE_MASK
        taken.add(place)
        places[openings] = place
    return places


def target_of(openings: Openings, places: dict[Openings, int], generation: int) -> AnyAction:
    """The action for packets at an address with these openings."""
    if openings == NOTHING:
        return Drop()
    return Goto(chain(generation, Place.ACCEPT if openings == EVERYTHING else places[openings]))


def address_filters(
    content: Content, hook: Hook, block: Block, action: AnyAction, generation: int
) -> Iterator[tuple[FilterKey, FilterBody]]:
    """The filter of one address or prefix; two if frames may have tags.

    The filter for all addresses has no address match: the kernel only dissects addresses if some bit of the mask is
    set, and then requires that the packet has addresses (cls_flower.c, fl_init_dissector and fl_set_key), so a prefix
    of length 0 would match no packet.
    """
    body = FilterBody((action,), pack(CookieKind.ADDRESS))
    where = chain(generation, Place.CLASSES)
    for variant in variants(content):
        if variant.version == block.version:
            far = {"destination" if hook is Hook.INGRESS else "source": block} if block.prefix else {}
            yield FilterKey(where, address_pref(block, variant), variant.protocol, variant.flower(**far)), body


def address_pref(block: Block, variant: Variant) -> int:
    """The longer the prefix, the earlier."""
    band = (_V4 if block.version == 4 else _V6) + (_VLAN if variant.vlan_ethtype is not None else 0)
    return band + WIDTH[block.version] - block.prefix


def ports_chain(content: Content, openings: Openings, number: int) -> Iterator[tuple[FilterKey, FilterBody]]:
    """A chain that accepts what is open and drops the rest. The drop comes first: without it, all would pass."""
    generation_accept = Goto(number & ~PLACE_MASK | Place.ACCEPT)
    yield FilterKey(number, LAST, EthType.ALL), FilterBody((Drop(),), pack(CookieKind.REST))
    for opening in openings:
        body = FilterBody((generation_accept,), pack(CookieKind.PORT, opening.reference))
        for pref, variant in enumerate(variants(content), start=1):
            yield FilterKey(number, pref, variant.protocol, _opening(opening, variant)), body


def _opening(opening: Opening, variant: Variant) -> Flower:
    if opening.protocol == ALL_PROTOCOLS:
        return variant.flower()
    ports = None if opening.whole else PortRange(opening.first, opening.last)
    return variant.flower(ip_proto=opening.protocol, destination_port=ports)


def _entry(content: Content, numbers: Numbers, generation: int) -> Iterator[tuple[FilterKey, FilterBody]]:
    where, base = chain(generation, Place.ENTRY), pack(CookieKind.BASE)
    passes = FilterBody((Accept(),), base)
    tracks = FilterBody((Ct(zone=numbers.zone), Goto(chain(generation, Place.CLASSES))), base)
    tags: tuple[tuple[int, int | None, int], ...] = ((0, None, EthType.ARP),)
    if content.tagged:
        tags += ((10, EthType.ARP, EthType.VLAN),)
    for offset, vlan_ethtype, protocol in tags:
        yield FilterKey(where, offset + 1, protocol, Flower(vlan_ethtype=vlan_ethtype)), passes
    accepted = content.options if content.mode is Mode.POLICED else Options()
    for variant in variants(content):
        offset = 0 if variant.vlan_ethtype is None else 10
        v4 = variant.version == 4
        for kind in () if v4 else NEIGHBOUR_DISCOVERY:
            match = variant.flower(ip_proto=IpProto.ICMPV6, icmp_type=kind)
            yield FilterKey(where, offset + 2, variant.protocol, match), passes
        if accepted.accept_icmp if v4 else accepted.accept_icmpv6:
            match = variant.flower(ip_proto=IpProto.ICMP if v4 else IpProto.ICMPV6)
            yield FilterKey(where, offset + (3 if v4 else 4), variant.protocol, match), passes
        if content.mode is not Mode.CLOSED:
            pref = offset + (5 if v4 else 6)
            yield FilterKey(where, pref, variant.protocol, variant.flower()), tracks
    rest: AnyAction = Accept() if content.mode is Mode.TRACKED else Drop()
    yield FilterKey(where, LAST, EthType.ALL), FilterBody((rest,), pack(CookieKind.REST))


def _classes(content: Content, numbers: Numbers, generation: int) -> Iterator[tuple[FilterKey, FilterBody]]:
    where, state = chain(generation, Place.CLASSES), pack(CookieKind.STATE)
    policed = content.mode is Mode.POLICED

    def known(pref: int, bits: int, mark: Bits | None, action: AnyAction) -> tuple[FilterKey, FilterBody]:
        match = Flower(ct_state=Bits(bits | CtState.TRK, bits | CtState.TRK), ct_mark=mark)
        return FilterKey(where, pref, EthType.ALL, match), FilterBody((action,), state)

    if policed:
        yield known(1, CtState.INV, None, Drop())
    if numbers.zone is None:
        yield known(2, CtState.EST, None, Accept())
        yield known(3, CtState.REL, None, Accept())
    else:
        now, after, before = _epochs(numbers.epoch)
        yield known(2, CtState.EST, Bits(now, _MARK), Accept())
        yield known(3, CtState.REL, Bits(now, _MARK), Accept())
        for prefs, mark in (((4, 5), after), (GRACE_PREFS, before)):
            yield known(prefs[0], CtState.EST | CtState.RPL, Bits(mark, _MARK), Accept())
            yield known(prefs[1], CtState.REL, Bits(mark, _MARK), Accept())
    yield known(_REPLY, CtState.RPL, None, Drop() if policed else Accept())
    rest: AnyAction = Drop() if policed else Goto(chain(generation, Place.ACCEPT))
    yield FilterKey(where, LAST, EthType.ALL), FilterBody((rest,), pack(CookieKind.REST))


def _accept(numbers: Numbers, generation: int) -> Iterator[tuple[FilterKey, FilterBody]]:
    mark = None if numbers.zone is None else Bits(numbers.epoch, _MARK)
    actions = Ct(zone=numbers.zone, commit=True, mark=mark), Accept()
    key = FilterKey(chain(generation, Place.ACCEPT), 1, EthType.ALL, ANY)
    yield key, FilterBody(actions, pack(CookieKind.BASE))


EPOCHS = 0xFFFF_FFFE
"""Number of epochs: a mark of 0 means that nobody marked the connection."""


def next_epoch(epoch: int) -> int:
    return epoch % EPOCHS + 1


def _epochs(now: int) -> tuple[int, int, int]:
    """This epoch, the next, and the previous one."""
    return now, next_epoch(now), (now - 2) % EPOCHS + 1


def _hash(openings: Openings) -> int:
    return int(codec.digest(codec.encode(openings))[:8], 16) & PLACE_MASK
