"""Our table as the JSON of libnftables, in exactly the form in which the kernel's table is listed.

Source: libnftables-json(5). The listing is made with `nft --json --numeric`, so protocols and ICMP types are numbers;
what is listed as a number but cannot be written as one is translated back into its name. Anything that we do not write
counts as strange.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, assert_never

import msgspec

from sluice.dataplane.addresses import WIDTH, Block, address, network, text
from sluice.dataplane.host.table import (
    FAMILY,
    NAME,
    Accept,
    Carries,
    Chain,
    Device,
    Drop,
    End,
    Ended,
    Goto,
    Hook,
    Icmp,
    Igmp,
    InSet,
    Jump,
    Kind,
    Known,
    Line,
    Match,
    NamedPort,
    Onward,
    Opened,
    OpenedPort,
    Port,
    Prohibit,
    Reset,
    Set,
    Table,
    Verdict,
    Version,
    Within,
)
from sluice.dataplane.host.words import (
    ADDRESS,
    FIELD,
    ICMP,
    IP,
    LIMIT,
    LOG_BYTES,
    LOG_GROUP,
    MARK_ENDED,
    PORT,
    TRANSPORT,
)

Json = dict[str, Any]  # Any: values as libnftables defines them

PRIORITY = 0
"""Priority of our chains in their hooks: `filter`. Source: nft(8), standard priority names."""

_DEVICE: dict[Hook, str] = {"input": "iifname", "output": "oifname"}
_STATES = {2: "established", 4: "related"}
"""Source: linux/netfilter/nf_conntrack_common.h, NF_CT_STATE_BIT."""

_NFPROTO_IPV4 = 2
"""Source: linux/netfilter.h."""

_ADMIN_PROHIBITED = 3
"""Source: linux/netfilter/nf_tables.h, NFT_REJECT_ICMPX_ADMIN_PROHIBITED."""

_encoder = msgspec.json.Encoder(order="sorted")


class HeldChain(NamedTuple):
    lines: tuple[bytes, ...]
    hook: Hook | None


class Held(NamedTuple):
    """A table in the kernel's representation."""

    chains: Mapping[str, HeldChain] = {}
    sets: Mapping[str, Set] = {}
    counters: frozenset[str] = frozenset()
    log_rate: int = 0
    strange: tuple[str, ...] = ()
    """Contents of our table that we never write; they are removed by replacing the whole table."""

    @property
    def is_there(self) -> bool:
        """Whether the table exists."""
        return bool(self.chains or self.sets or self.counters or self.log_rate or self.strange)


NOT_THERE = Held()


def encoded(table: Table) -> Held:
    """What the kernel holds if it holds the table."""
    chains = {name: _chain(chain) for name, chain in table.chains.items()}
    return Held(chains, table.sets, table.counters, table.log_rate)


@lru_cache(maxsize=256)
def _chain(chain: Chain) -> HeldChain:
    return HeldChain(tuple(_encoder.encode(body(line)) for line in chain.lines), chain.hook)


def body(line: Line) -> Json:
    """The line without its position."""
    words = [word for one in line.matches for word in _match(one)]
    if line.log:
        words += [{"limit": LIMIT}, {"log": {"prefix": line.log, "group": LOG_GROUP, "snaplen": LOG_BYTES}}]
    if line.counter:
        words.append({"counter": line.counter})
    words += _verdict(line.verdict) if line.verdict is not None else []
    return {"expr": words, "comment": line.comment}


def _match(one: Match) -> list[Json]:
    match one:
        case Igmp(number):
            return [_is({"meta": {"key": "nfproto"}}, _NFPROTO_IPV4), _is(_payload("igmp", "type"), number)]
        case _:
            return [_word_of(one)]


def _word_of(one: Match) -> Json:
    match one:
        case InSet(side, version, name):
            return _is(_payload(IP[version], FIELD[side]), f"@{name}")
        case Within(side, block):
            return _is(_payload(IP[block.version], FIELD[side]), _block(block))
        case Carries(number):
            return _is({"meta": {"key": "l4proto"}}, number)
        case Port(protocol, side, first, last):
            return _is(_payload(TRANSPORT[protocol], PORT[side]), _range(first, last))
        case Opened(block):
            return _is(_original(f"{IP[block.version]} daddr"), _block(block))
        case OpenedPort(first, last):
            return _is(_original("proto-dst"), _range(first, last))
        case NamedPort(version, protocol, name):
            pair = [_payload(IP[version], "daddr"), _payload(TRANSPORT[protocol], "dport")]
            return _is({"concat": pair}, f"@{name}")
        case Icmp(version, field, first, last):
            return _is(_payload(ICMP[version], field), _range(first, last))
        case Igmp():
            raise AssertionError("it takes two words")
        case Device(hook, name):
            return _is({"meta": {"key": _DEVICE[hook]}}, name)
        case Known():
            return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(_STATES.values())}}
        case Onward():
            return _is({"ct": {"key": "direction"}}, "original")
        case Ended():
            return {"match": {"op": "!=", "left": {"&": [{"ct": {"key": "mark"}}, MARK_ENDED]}, "right": 0}}
        case _:
            assert_never(one)


def _verdict(verdict: Verdict) -> list[Json]:
    match verdict:
        case Accept():
            return [{"accept": None}]
        case Drop():
            return [{"drop": None}]
        case Reset():
            return [{"reject": {"type": "tcp reset"}}]
        case Prohibit():
            return [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]
        case Goto(chain):
            return [{"goto": {"target": chain}}]
        case Jump(chain):
            return [{"jump": {"target": chain}}]
        case End():
            mark = {"ct": {"key": "mark"}}
            return [{"mangle": {"key": mark, "value": {"|": [mark, MARK_ENDED]}}}]
        case _:
            assert_never(verdict)


def _is(left: Json, right: object) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def _payload(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}


def _original(key: str) -> Json:
    """A key of the conntrack entry's original tuple."""
    return {"ct": {"key": key, "dir": "original"}}


def _block(block: Block) -> object:
    own = text(block.version, block.value)
    return own if block.prefix == WIDTH[block.version] else {"prefix": {"addr": own, "len": block.prefix}}


def _range(first: int, last: int) -> object:
    return first if first == last else {"range": [first, last]}


# -------------------------------------------------------------------------------------------------------------- objects


def named(kind: str, name: str, **more: object) -> Json:
    """An object of our table."""
    return {kind: {"family": FAMILY, "table": NAME, "name": name, **more}}


THE_TABLE: Json = {"table": {"family": FAMILY, "name": NAME}}


def chain(name: str, hook: Hook | None) -> Json:
    based = {"type": "filter", "hook": hook, "prio": PRIORITY, "policy": "accept"} if hook else {}
    return named("chain", name, **based)


def rule(chain: str, line: bytes) -> Json:
    return {"rule": {"family": FAMILY, "table": NAME, "chain": chain, **msgspec.json.decode(line)}}


def limit(rate: int) -> Json:
    return named("limit", LIMIT, rate=rate, per="second", burst=2 * rate)


def set_(name: str, made: Set) -> Json:
    kind: object = ADDRESS[made.version]
    more: Json = {}
    if made.kind is Kind.PAIRS:
        kind = [kind, "inet_service"]
    elif made.kind is Kind.RANGES:
        more = {"flags": ["interval"]}
    return named("set", name, type=kind, **more)


def elements(name: str, version: Version, kind: Kind, which: Iterable[tuple[int, int]]) -> Json:
    """Elements of a set, sorted."""
    return named("element", name, elem=[_element(version, kind, one) for one in sorted(which)])


def _element(version: Version, kind: Kind, one: tuple[int, int]) -> object:
    first, second = one
    if kind is Kind.PAIRS:
        return {"concat": [text(version, first), second]}
    if kind is Kind.ADDRESSES or first == second:
        return text(version, first)
    return {"range": [text(version, first), text(version, second)]}


# -------------------------------------------------------------------------------------------------------------- reading


def read(listing: Json) -> Held:
    """Parse the listing of our table. Total: what we would not write is strange."""
    chains: dict[str, HeldChain] = {}
    sets: dict[str, Set] = {}
    counters: set[str] = set()
    strange: list[str] = []
    rate = 0
    for entry in listing.get("nftables", ()):
        (kind, said), *_ = entry.items()
        try:
            match kind:
                case "metainfo" | "table":
                    pass
                case "chain":
                    chains[said["name"]] = HeldChain((), _hook(said))
                case "rule":
                    into = chains[said["chain"]]
                    chains[said["chain"]] = into._replace(lines=(*into.lines, _line(said)))
                case "set":
                    sets[said["name"]] = _set(said)
                case "counter":
                    counters.add(said["name"])
                case "limit":
                    rate = _rate(said)
                case _:
                    strange.append(f"{kind} {said.get('name', '')}".strip())
        except (KeyError, TypeError, ValueError) as error:
            strange.append(f"{kind} {said.get('name', '')}: {error!r}")
    return Held(chains, sets, frozenset(counters), rate, tuple(strange))


def counts(listing: Json) -> dict[str, tuple[int, int]]:
    """Packets and bytes of each of our counters."""
    found = (entry["counter"] for entry in listing.get("nftables", ()) if "counter" in entry)
    return {one["name"]: (one["packets"], one["bytes"]) for one in found if (one["family"], one["table"]) == _OURS}


_OURS = (FAMILY, NAME)


def _hook(said: Json) -> Hook | None:
    if "hook" not in said:
        return None
    if (said["type"], said["prio"], said["policy"]) != ("filter", PRIORITY, "accept"):
        raise ValueError(f"{said['type']} {said['prio']} {said['policy']}")
    return {"input": "input", "output": "output"}[said["hook"]]  # type: ignore[return-value]  # mypy widens literals


def _line(said: Json) -> bytes:
    return _encoder.encode({"expr": [_word(one) for one in said["expr"]], "comment": said.get("comment", "")})


def _word(word: Json) -> Json:
    """The expression in the form in which we write it."""
    match word:
        case {"match": {"left": {"ct": {"key": "state"}}, "right": list(right)} as matched}:
            return {"match": {**matched, "right": [_STATES.get(one, one) for one in right]}}
        case {"match": {"left": {"ct": {"key": "direction"}}, "right": 0} as matched}:
            return {"match": {**matched, "right": "original"}}
        case {"reject": {"expr": int(code)} as reject} if code == _ADMIN_PROHIBITED:
            return {"reject": {**reject, "expr": "admin-prohibited"}}
        case _:
            return word


def _set(said: Json) -> Set:
    kind, flags = said["type"], said.get("flags", [])
    pairs = isinstance(kind, list) and kind[1:] == ["inet_service"]
    of = kind[0] if pairs else kind
    version: Version = 4 if of == ADDRESS[4] else 6
    if of not in ADDRESS.values() or flags not in ([], ["interval"]) or (pairs and flags):
        raise ValueError(f"{kind} {flags}")
    which = Kind.PAIRS if pairs else Kind.RANGES if flags else Kind.ADDRESSES
    return Set(version, which, frozenset(_held(which, one) for one in said.get("elem", ())))


def _held(kind: Kind, element: Any) -> tuple[int, int]:  # Any: as listed
    match element:
        case {"concat": [str(own), int(port)]} if kind is Kind.PAIRS:
            return address(own).value, port
        case {"range": [str(first), str(last)]}:
            return address(first).value, address(last).value
        case {"prefix": {"addr": str(own), "len": int(length)}}:
            block = network(f"{own}/{length}")
            return block.value, block.value + (1 << (WIDTH[block.version] - length)) - 1
        case str(own) if kind is not Kind.PAIRS:
            value = address(own).value
            return value, value if kind is Kind.RANGES else 0
        case _:
            raise ValueError(repr(element))


def _rate(said: Json) -> int:
    rate = said["rate"]
    if said["name"] != LIMIT or (said["per"], said["burst"]) != ("second", 2 * rate):
        raise ValueError(repr(said))
    return int(rate)
