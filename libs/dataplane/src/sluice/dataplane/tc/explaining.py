"""The meaning of a filter in words, and which filter a line of tc(8) refers to.

tc(8) begins the lines of a filter with its position, `filter protocol ip pref 1 flower chain 84934656 handle 0x1`, but
does not name the interface; `dev eth3 ingress` may precede it. Short forms are `84934656/1/0x1` (chain, preference and
handle, the last of which is optional) and a cookie.
"""

import re
from typing import NamedTuple

from sluice.dataplane.tc.filter import FilterKey, Hook, Standing
from sluice.dataplane.tc.owner import Cookie, CookieKind, Place, place_of

SAYS = {
    CookieKind.ROOT: "leads every packet to the filters that are in force",
    CookieKind.BASE: "is at every policed interface, whatever the rules",
    CookieKind.STATE: "decides by the state of the connection",
    CookieKind.ADDRESS: "matches one address or block, and leads to the ports open to it",
    CookieKind.PORT: "matches a port, a range or a protocol that these rules open",
    CookieKind.REST: "drops what no rule allowed",
}
"""The purpose of each kind of filter, in words."""

_DOES = {
    Place.ENTRY: "lets ARP and neighbour discovery pass, and sends IP through connection tracking",
    Place.CLASSES: "lets known connections pass, then matches addresses, longest prefix first",
    Place.ACCEPT: "has the connection remembered, and lets the packet pass",
    Place.PORTS: "matches what is open to the addresses that lead here, and drops the rest",
}

_SHORT = re.compile(r"(\d+)/(\d+)(?:/(0x[0-9a-fA-F]+|\d+))?")
_COOKIE = re.compile(r"(?:\bcookie\s+)?\b([0-9a-fA-F]{32})\b")
_DEVICE = re.compile(r"\bdev\s+(\S+)")
_HOOK = re.compile(r"\b(ingress|egress)\b")
_CHAIN = re.compile(r"(?<!goto )\bchain\s+(\d+)")
_PREF = re.compile(r"\bpref\s+(\d+)")
_HANDLE = re.compile(r"\bhandle\s+(0x[0-9a-fA-F]+|\d+)")


class NotAFilter(ValueError):
    """The text contains no position of a filter."""


class Wanted(NamedTuple):
    """The properties of a filter that a text gives; None for unknown ones."""

    device: str | None = None
    hook: Hook | None = None
    chain: int | None = None
    pref: int | None = None
    handle: int | None = None
    cookie: bytes | None = None

    def fits(self, device: str, hook: Hook, key: FilterKey, standing: Standing) -> bool:
        has = (device, hook, key.chain, key.pref, standing.handle, standing.body.cookie)
        return all(said in (None, is_) for said, is_ in zip(self, has, strict=True))


def read(text: str) -> Wanted:
    """Which filter the text refers to.

    Raises:
        NotAFilter
    """
    device, hook = _DEVICE.search(text), _HOOK.search(text)
    at = Wanted(device[1] if device else None, Hook(hook[1]) if hook else None)
    if short := _SHORT.fullmatch(text.strip().split(" ")[-1]):
        return at._replace(chain=int(short[1]), pref=int(short[2]), handle=int(short[3], 0) if short[3] else None)
    pref, chain, handle, cookie = (one.search(text) for one in (_PREF, _CHAIN, _HANDLE, _COOKIE))
    if pref is None and cookie is None:
        raise NotAFilter(
            f"{text!r} does not say which filter; give a line of `tc filter show` with pref, or "
            "CHAIN/PREF/HANDLE, or a cookie"
        )
    at = at._replace(cookie=bytes.fromhex(cookie[1]) if cookie else None)
    if pref is None:
        return at
    return at._replace(
        chain=int(chain[1]) if chain else 0, pref=int(pref[1]), handle=int(handle[1], 0) if handle else None
    )


def says(cookie: Cookie, *, polices: bool) -> str:
    if cookie.kind is CookieKind.REST and not polices:
        return "lets everything else pass, because rules apply only to the other direction"
    return SAYS[cookie.kind]


def chain_name(key: FilterKey) -> str:
    """Name of the filter's chain, for people."""
    return "root" if key.chain == 0 else _place(key).name.lower()


def does(key: FilterKey) -> str:
    """The purpose of the filter's chain."""
    return "leads to all other filters" if key.chain == 0 else _DOES[_place(key)]


def _place(key: FilterKey) -> Place:
    number = place_of(key.chain)
    return Place(number) if number < Place.PORTS and number in _DOES else Place.PORTS
