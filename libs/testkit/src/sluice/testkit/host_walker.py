"""Walks packets through our nftables table like a kernel, and applies its transactions.

It knows nothing about policies. Source: nft(8), "Verdict statements", and nf_tables_core.c, nft_do_chain.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, assert_never

import msgspec

from sluice.dataplane.host import wire
from sluice.dataplane.host.table import (
    Accept,
    Carries,
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
    Side,
    Table,
    Version,
    Within,
)
from sluice.dataplane.host.wire import Held, HeldChain
from sluice.dataplane.protocols import IpProto
from sluice.policy.verdict import Outcome

_encoder = msgspec.json.Encoder(order="sorted")


class Sent(NamedTuple):
    """A packet, as the hook sees it."""

    hook: Hook
    version: Version
    source: int
    destination: int
    protocol: int
    source_port: int = 0
    port: int = 0
    """For ICMP, type and code."""

    device: str = "eth0"
    known: bool = False
    onward: bool = True
    ended: bool = False
    opened_to: tuple[int, int] | None = None
    """Original destination and port of its connection, if they were translated."""


class Walk(NamedTuple):
    outcome: Outcome
    met: tuple[str, ...]
    """Comments of the matching rules."""

    counters: tuple[str, ...]
    logged: tuple[str, ...]
    ends: bool


def walk(table: Table, sent: Sent) -> Walk:
    """What becomes of the packet in the hook."""
    met: list[Line] = []
    outcome = _chain(table, sent, sent.hook, met)
    return Walk(
        outcome or Outcome.ALLOWED,
        tuple(line.comment for line in met),
        tuple(line.counter for line in met if line.counter),
        tuple(line.log for line in met if line.log),
        any(isinstance(line.verdict, End) for line in met),
    )


def _chain(table: Table, sent: Sent, name: str, met: list[Line]) -> Outcome | None:
    """None if the chain, or the one it went to, was passed without a verdict."""
    for line in table.chains[name].lines:
        if not all(_holds(table, sent, one) for one in line.matches):
            continue
        met.append(line)
        match line.verdict:
            case None | End():
                pass
            case Accept():
                return Outcome.ALLOWED
            case Drop():
                return Outcome.DROPPED
            case Reset() | Prohibit():
                return Outcome.REJECTED
            case Goto(chain):
                return _chain(table, sent, chain, met)
            case Jump(chain):
                decided = _chain(table, sent, chain, met)
                if decided is not None:
                    return decided
            case _:
                assert_never(line.verdict)
    return None


def _holds(table: Table, sent: Sent, one: Match) -> bool:
    match one:
        case InSet(side, version, name):
            made = table.sets[name]
            value = _address(sent, side)
            if version != sent.version:
                return False
            if made.kind is Kind.RANGES:
                return any(first <= value <= last for first, last in made.elements)
            return (value, 0) in made.elements
        case Within(side, block):
            return block.version == sent.version and _address(sent, side) & block.mask == block.value
        case Carries(number):
            return sent.protocol == number
        case Port(protocol, side, first, last):
            port = sent.source_port if side is Side.SOURCE else sent.port
            return sent.protocol == protocol and first <= port <= last
        case Opened(block):
            return block.version == sent.version and _opened_to(sent)[0] & block.mask == block.value
        case OpenedPort(first, last):
            return first <= _opened_to(sent)[1] <= last
        case NamedPort(version, protocol, name):
            here = (version, protocol) == (sent.version, sent.protocol)
            return here and (sent.destination, sent.port) in table.sets[name].elements
        case Icmp(version, field, first, last):
            proto = IpProto.ICMP if version == 4 else IpProto.ICMPV6
            value = sent.source_port if field == "type" else sent.port
            return (sent.version, sent.protocol) == (version, proto) and first <= value <= last
        case Igmp(number):
            return sent.protocol == IpProto.IGMP and sent.source_port == number
        case Device(hook, name):
            return (sent.hook, sent.device) == (hook, name)
        case Known():
            return sent.known
        case Onward():
            return sent.onward
        case Ended():
            return sent.ended
        case _:
            assert_never(one)


def _address(sent: Sent, side: Side) -> int:
    return sent.source if side is Side.SOURCE else sent.destination


def _opened_to(sent: Sent) -> tuple[int, int]:
    own = (sent.destination, sent.port) if sent.onward else (sent.source, sent.source_port)
    return sent.opened_to or own


class NotCarriedOut(AssertionError):
    """A kernel would refuse the transaction."""


def carry_out(commands: tuple[dict[str, Any], ...], held: Held) -> Held:
    """The kernel's state after the transaction.

    Raises:
        NotCarriedOut: something does not exist, or is still referenced.
    """
    for command in commands:
        ((verb, what),) = command.items()
        ((kind, said),) = what.items()
        held = _done(verb, kind, said, held)
    _check(held)
    return held


def _done(verb: str, kind: str, said: Mapping[str, Any], held: Held) -> Held:
    chains, sets, counters = dict(held.chains), dict(held.sets), set(held.counters)
    name = said.get("name", "")
    match verb, kind:
        case "add", "table":
            return held
        case "delete", "table":
            return wire.NOT_THERE
        case "add", "limit":
            return held._replace(log_rate=said["rate"])
        case "add", "counter":
            counters.add(name)
        case "delete", "counter":
            counters.remove(name)
        case "add", "set":
            listing = {"nftables": [{"set": dict(said)}]}
            sets[name] = wire.read(listing).sets[name]
        case "delete", "set":
            del sets[name]
        case "flush", "set":
            sets[name] = sets[name]._replace(elements=frozenset())
        case (("add" | "delete"), "element"):
            old = sets[name]
            asked = {**wire.set_(name, old)["set"], "elem": said["elem"]}
            which = wire.read({"nftables": [{"set": asked}]}).sets[name].elements
            if verb == "delete" and not which <= old.elements:
                raise NotCarriedOut(f"{name} does not hold {sorted(which - old.elements)}")
            sets[name] = old._replace(elements=old.elements | which if verb == "add" else old.elements - which)
        case "add", "chain":
            if name in chains:
                raise NotCarriedOut(f"{name} is there")
            chains[name] = HeldChain((), said.get("hook"))
        case "flush", "chain":
            chains[name] = chains[name]._replace(lines=())
        case "delete", "chain":
            if chains[name].lines:
                raise NotCarriedOut(f"{name} is not empty")
            del chains[name]
        case "add", "rule":
            line = _encoder.encode({"expr": said["expr"], "comment": said["comment"]})
            into = chains[said["chain"]]
            chains[said["chain"]] = into._replace(lines=(*into.lines, line))
        case _:
            raise NotCarriedOut(f"{verb} {kind}")
    return held._replace(chains=chains, sets=sets, counters=frozenset(counters))


def _check(held: Held) -> None:
    """Check that everything referenced by rules exists."""
    for name, chain in held.chains.items():
        for line in chain.lines:
            for kind, target in _references(msgspec.json.decode(line)["expr"]):
                there = {"chain": held.chains, "set": held.sets, "counter": held.counters}[kind]
                if target not in there:
                    raise NotCarriedOut(f"{name}: no {kind} {target}")


def _references(words: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for word in words:
        match word:
            case {"goto": {"target": str(target)}} | {"jump": {"target": str(target)}}:
                yield "chain", target
            case {"counter": str(target)}:
                yield "counter", target
            case {"match": {"right": str(right)}} if right.startswith("@"):
                yield "set", right[1:]
            case _:
                pass
