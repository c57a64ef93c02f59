"""Our table in the notation of nft(8): for people, and for `sluice compile`."""

from collections.abc import Iterator
from typing import assert_never

from sluice.dataplane.addresses import text
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
from sluice.dataplane.protocols import IpProto

_NAMES = TRANSPORT | {IpProto.ICMP: "icmp", IpProto.ICMPV6: "ipv6-icmp", IpProto.IGMP: "igmp"}


def write(table: Table) -> str:
    """Input for `nft -f`; empty if there is no table."""
    if not table.chains:
        return ""
    return "".join(f"{line}\n" for line in _table(table))


def _table(table: Table) -> Iterator[str]:
    yield f"table {FAMILY} {NAME} {{"
    yield f"  limit {LIMIT} {{ rate {table.log_rate}/second burst {2 * table.log_rate} packets }}"
    for name in sorted(table.counters):
        yield f"  counter {name} {{ packets 0 bytes 0 }}"
    for name, made in sorted(table.sets.items()):
        yield from _set(name, made)
    for name, chain in sorted(table.chains.items(), key=lambda one: one[1].hook is not None):  # those named go first
        yield from _chain(name, chain)
    yield "}"


def _set(name: str, made: Set) -> Iterator[str]:
    kind = ADDRESS[made.version] + (" . inet_service" if made.kind is Kind.PAIRS else "")
    yield f"  set {name} {{"
    yield f"    type {kind}"
    if made.kind is Kind.RANGES:
        yield "    flags interval"
    if made.elements:
        yield f"    elements = {{ {', '.join(_element(made, one) for one in sorted(made.elements))} }}"
    yield "  }"


def _element(made: Set, one: tuple[int, int]) -> str:
    first, second = one
    own = text(made.version, first)
    if made.kind is Kind.PAIRS:
        return f"{own} . {second}"
    return own if made.kind is Kind.ADDRESSES or first == second else f"{own}-{text(made.version, second)}"


def _chain(name: str, chain: Chain) -> Iterator[str]:
    yield f"  chain {name} {{"
    if chain.hook:
        yield f"    type filter hook {chain.hook} priority filter; policy accept;"
    yield from (f"    {line(one)}" for one in chain.lines)
    yield "  }"


def line(one: Line) -> str:
    """One line of a chain."""
    words = [_match(each) for each in one.matches]
    if one.log:
        words.append(f'limit name "{LIMIT}" log prefix "{one.log}" group {LOG_GROUP} snaplen {LOG_BYTES}')
    if one.counter:
        words.append(f'counter name "{one.counter}"')
    if one.verdict is not None:
        words.append(_verdict(one.verdict))
    return " ".join((*words, f'comment "{one.comment}"'))


def _match(one: Match) -> str:
    match one:
        case InSet(side, version, name):
            return f"{IP[version]} {FIELD[side]} @{name}"
        case Within(side, block):
            return f"{IP[block.version]} {FIELD[side]} {block.text}"
        case Carries(number):
            return f"meta l4proto {_NAMES.get(number, number)}"
        case Port(protocol, side, first, last):
            return f"{_NAMES[protocol]} {PORT[side]} {_range(first, last)}"
        case Opened(block):
            return f"ct original {IP[block.version]} daddr {block.text}"
        case OpenedPort(first, last):
            return f"ct original proto-dst {_range(first, last)}"
        case NamedPort(version, protocol, name):
            return f"{IP[version]} daddr . {_NAMES[protocol]} dport @{name}"
        case Icmp(version, field, first, last):
            return f"{ICMP[version]} {field} {_range(first, last)}"
        case Igmp(number):
            return f"igmp type {number}"
        case Device("input", name):
            return f'iifname "{name}"'
        case Device(_, name):
            return f'oifname "{name}"'
        case Known():
            return "ct state established,related"
        case Onward():
            return "ct direction original"
        case Ended():
            return f"ct mark & {MARK_ENDED:#x} != 0"
        case _:
            assert_never(one)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _verdict(verdict: Verdict) -> str:
    match verdict:
        case Accept():
            return "accept"
        case Drop():
            return "drop"
        case Reset():
            return "reject with tcp reset"
        case Prohibit():
            return "reject with icmpx admin-prohibited"
        case Goto(chain):
            return f"goto {chain}"
        case Jump(chain):
            return f"jump {chain}"
        case End():
            return f"ct mark set ct mark | {MARK_ENDED:#x}"
        case _:
            assert_never(verdict)
