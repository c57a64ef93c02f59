"""Parses flows from text, as `text` writes them and as `ovs-ofctl dump-flows` shows them."""

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    AnyAction,
    Conjunction,
    Controller,
    Ct,
    DecTtl,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Group,
    Learn,
    Meter,
    MoveField,
    Nat,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.notation import BITS, LONG, NAMED, RESERVED_PORTS, SHARED


class NotAFlow(ValueError):
    """Text that is not a flow, or not of a kind that we use."""


_IGNORED = frozenset(("duration", "n_packets", "n_bytes", "idle_age", "hard_age", "idle_timeout", "hard_timeout"))


def read(line: str) -> tuple[FlowKey, FlowBody]:
    """The flow on the line.

    Raises:
        NotAFlow: the message says which word is not understood.
    """
    said, found, acts = line.strip().partition("actions=")
    if not found:
        raise NotAFlow(f"{line!r}: no actions=; a flow that drops has actions=drop")
    numbers = {"cookie": 0, "table": 0, "priority": 0x8000}  # ovs-ofctl(8), "Flow Syntax": the defaults
    words = []
    for word in re.split(r"[\s,]+", said.strip(" ,")):
        name, _, value = word.partition("=")
        if name in numbers:
            numbers[name] = _number(value, line)
        elif word and name not in _IGNORED:
            words.append((name, value))
    key = FlowKey(numbers["table"], numbers["priority"], match(*_terms(words, line)))
    actions = () if acts == "drop" else tuple(_read_action(word, line) for word in _split(acts))
    return key, FlowBody(actions, numbers["cookie"])


def read_all(text: str) -> Flows:
    """The flows of all lines except empty ones, comments and the header of a dump."""
    lines = (line.strip() for line in text.splitlines())
    return dict(read(line) for line in lines if line and not line.startswith(("#", "OFPST_FLOW", "NXST_FLOW")))


def _terms(words: list[tuple[str, str]], line: str) -> Iterator[Term]:
    protos = [LONG[name][1] for name, value in words if not value and name in LONG]
    protos += [_number(value, line) for name, value in words if name == "nw_proto"]
    proto = next((number for number in protos if number is not None), None)
    for name, value in words:
        if not value and name in LONG:
            eth_type, number = LONG[name]
            yield Term(Field.ETH_TYPE, eth_type)
            if number is not None:
                yield Term(Field.IP_PROTO, number)
        elif name in ("ct_state", "tcp_flags"):
            yield _read_bits(_field(name, line), value, line)
        else:
            shared = SHARED.get(name, {}).get(proto) if proto is not None else None
            yield Term(shared or _field(name, line), *_read_value(value, line))


def _field(name: str, line: str) -> Field:
    try:
        return NAMED[name]
    except KeyError as error:
        raise NotAFlow(f"{line!r}: field {name!r} does not occur in flows of Sluice") from error


def _read_bits(field: Field, value: str, line: str) -> Term:
    names = BITS[field]
    on = off = 0
    for sign, name in re.findall(r"([+-])([a-z]+)", value):
        if name not in names:
            raise NotAFlow(f"{line!r}: {field.spec.name} has no {name!r} here; see ovs-fields(7)")
        on |= names[name] if sign == "+" else 0
        off |= names[name] if sign == "-" else 0
    return Term(field, on, on | off)


def _read_value(text: str, line: str) -> tuple[int, int | None]:
    value, _, mask = text.partition("/")
    if not mask:
        return _number(value, line), None
    if mask.isdecimal() and ("." in value or "::" in value or value.count(":") == 7):
        bits = 128 if ":" in value else 32
        return _number(value, line), (1 << bits) - (1 << (bits - int(mask)))
    return _number(value, line), _number(mask, line)


def _number(text: str, line: str) -> int:
    try:
        if re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
            return int(text.replace(":", ""), 16)
        if "." in text:
            return int(IPv4Address(text))
        return int(IPv6Address(text)) if ":" in text else int(text, 0)
    except ValueError as error:
        raise NotAFlow(f"{line!r}: {text!r} is neither a number nor an address") from error


def _split(actions: str) -> Iterator[str]:
    depth, begin = 0, 0
    for place, letter in enumerate(actions):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield actions[begin:place]
            begin = place + 1
    yield actions[begin:]


_PORT_NUMBERS = {name: number for number, name in RESERVED_PORTS.items()}
_SUBFIELD = r"(\w+)\[(?:(\d+)(?:\.\.(\d+))?)?\]"
_Reader = Callable[[tuple[str, ...], str], AnyAction]


def _read_set(groups: tuple[str, ...], line: str) -> AnyAction:
    text, name = groups
    return SetField(_field(name, line), *_read_value(text, line))


def _read_move(groups: tuple[str, ...], line: str) -> AnyAction:
    source, first, last, target, to_first, _ = groups
    field = _field(source, line)
    bits = int(last or first) - int(first) + 1 if first else field.spec.bits
    return MoveField(field, _field(target, line), bits, int(first or 0), int(to_first or 0))


def _read_ct(groups: tuple[str, ...], line: str) -> AnyAction:
    words = dict(word.partition("=")[::2] for word in _split(groups[0]) if not word.startswith("exec("))
    inner = next((word[5:-1] for word in _split(groups[0]) if word.startswith("exec(")), "")
    steps = tuple(_read_action(word, line) for word in _split(inner)) if inner else ()
    exec_ = tuple(step for step in steps if isinstance(step, SetField | MoveField))
    nat = next((_read_nat(name, value, line) for name, value in words.items() if name.startswith("nat")), None)
    if unknown := {name for name in words if not name.startswith("nat")} - {"commit", "table", "zone"}:
        raise NotAFlow(f"{line!r}: ct with {', '.join(sorted(unknown))} does not occur in flows of Sluice")
    table = _number(words["table"], line) if "table" in words else None
    return Ct(_number(words.get("zone", "0"), line), "commit" in words, table, exec_, nat)


def _read_nat(name: str, value: str, line: str) -> Nat:
    if name == "nat":
        return Nat()
    end = name.removeprefix("nat(")
    found = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<any>[^\[]+?))(?::(?P<port>\d+))?\)", value)
    if end not in ("src", "dst") or found is None:
        raise NotAFlow(f"{line!r}: {name}={value} does not occur in flows of Sluice")
    text, port = found["six"] or found["any"], found["port"]
    if not found["six"] and "." not in text and port is not None:  # its last group looks like a port
        text, port = f"{text}:{port}", None
    version = 4 if "." in text else 6
    return Nat("src" if end == "src" else "dst", version, _number(text, line), None if port is None else int(port))


def _read_learn(groups: tuple[str, ...], line: str) -> AnyAction:
    words = list(_split(groups[0]))
    said = dict(word.partition("=")[::2] for word in words if "=" in word)
    exact = []
    for name, value in said.items():
        if name in ("eth_type", "nw_proto"):
            exact.append(Term(Field.ETH_TYPE if name == "eth_type" else Field.IP_PROTO, _number(value, line)))
    same = tuple(_field(word[:-2], line) for word in words if re.fullmatch(r"\w+\[\]", word))
    gives = tuple(_field(found[1], line) for word in words if (found := re.fullmatch(r"load:(\w+)\[\]->\1\[\]", word)))
    if len(words) != 4 + ("delete_learned" in words) + len(exact) + len(same) + len(gives):
        raise NotAFlow(f"{line!r}: learn({groups[0]}) does not occur in flows of Sluice")
    numbers = (said["table"], said["priority"], said["idle_timeout"], said["cookie"])
    table, priority, idle_s, cookie = (_number(number, line) for number in numbers)
    return Learn(table, priority, idle_s, cookie, tuple(exact), same, gives)


def _read_controller(groups: tuple[str, ...], line: str) -> AnyAction:
    words = dict(word.partition("=")[::2] for word in _split(groups[0]))
    meter = words.get("meter_id")
    return Controller(
        bytes.fromhex(words.get("userdata", "").replace(".", "")),
        "pause" in words,
        None if meter is None else _number(meter, line),
        _number(words.get("max_len", "65535"), line),
        _number(words.get("id", "0"), line),
    )


_ACTIONS: tuple[tuple[str, _Reader], ...] = (
    (r"output:(\d+)", lambda groups, line: Output(_number(groups[0], line))),
    (rf"output:{_SUBFIELD}", lambda groups, line: OutputField(_field(groups[0], line))),
    (r"(IN_PORT|LOCAL|CONTROLLER)", lambda groups, _: Output(_PORT_NUMBERS[groups[0]])),
    (r"set_field:(\S+)->(\w+)", _read_set),
    (rf"move:{_SUBFIELD}->{_SUBFIELD}", _read_move),
    (r"dec_ttl", lambda _, __: DecTtl()),
    (r"push_vlan:0x8100", lambda _, __: PushVlan()),
    (r"pop_vlan", lambda _, __: PopVlan()),
    (r"conjunction\((\d+),(\d+)/(\d+)\)", lambda groups, _: Conjunction(*map(int, groups))),
    (r"ct\((.*)\)", _read_ct),
    (r"resubmit\(,(\d+)\)", lambda groups, _: Resubmit(int(groups[0]))),
    (r"goto_table:(\d+)", lambda groups, _: Goto(int(groups[0]))),
    (r"group:(\d+)", lambda groups, _: Group(int(groups[0]))),
    (r"meter:(\d+)", lambda groups, _: Meter(int(groups[0]))),
    (r"learn\((.*)\)", _read_learn),
    (r"controller\((.*)\)", _read_controller),
)


def _read_action(word: str, line: str) -> AnyAction:
    for pattern, reader in _ACTIONS:
        if found := re.fullmatch(pattern, word):
            return reader(found.groups(), line)
    raise NotAFlow(f"{line!r}: action {word!r} does not occur in flows of Sluice")
