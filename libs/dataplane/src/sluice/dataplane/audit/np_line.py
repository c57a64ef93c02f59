"""Writes and reads lines of np.log.

    2023/07/04 12:45:21.804416 IngressDefaultRule AntreaNetworkPolicy:default/p Name Ingress Reject 16 ns/pod ...

Fields are separated by one space; unset fields are `<nil>`. A name with a space, a control character or a percent sign
is percent-encoded, so that nobody can forge a line through the name of a rule.

Source: docs "Antrea Network Policy CRDs", "enableLogging and logLabel"; the duration is Go's.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from sluice.contracts import subjects
from sluice.contracts.audit import FlowDecision, Loss
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import Kind
from sluice.policy.listing import SOURCES

NIL = "<nil>"

LOSS = "AuditLoss"
"""In place of a table: packets without a line. The label says why, and their number is in the place of repetitions, so
that parsers find as many fields as in any other line."""

FIELDS = (
    *("table", "policy", "rule", "direction", "action", "priority", "applied_to"),
    *("source", "source_port", "destination", "destination_port", "protocol", "length", "label"),
)
"""The fields after date and time, in order."""

_NUMBERS = frozenset(("priority", "source_port", "destination_port", "length"))
_TIME = "%Y/%m/%d %H:%M:%S.%f"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REPEATED = re.compile(r" \[(\d+) packets in ([^\]\s]+)\]$")
_UNIT_US = {"ns": 0.001, "us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNSAFE = re.compile(r"[^\x21-\x24\x26-\x7e]")
"""Everything but printable ASCII, and the percent sign."""

_KINDS = {said: kind for kind, said in SOURCES.items()}


class NotALine(ValueError):
    """The text is not a line of np.log; the message says why."""


def write(decision: FlowDecision | Loss) -> str:
    """The line, without the newline."""
    if isinstance(decision, Loss):
        return _write_loss(decision)
    when = _when(decision.at_us)
    repeated = f" [{decision.packets} packets in {_go(decision.within_us)}]" if decision.packets > 1 else ""
    return f"{when} {' '.join(fields(decision))}{repeated}"


def fields(decision: FlowDecision) -> list[str]:
    """The fields as text, in the order of FIELDS."""
    return [_written(getattr(decision, name)) for name in FIELDS]


def read(line: str) -> FlowDecision | Loss:
    """Parse a line.

    Raises:
        NotALine: it does not parse.
    """
    packets, within_us = 1, 0
    if found := _REPEATED.search(line):
        packets, within_us, line = int(found[1]), _micros(found[2]), line[: found.start()]
    date, _, rest = line.partition(" ")
    time, _, rest = rest.partition(" ")
    words = rest.split(" ")
    if len(words) != len(FIELDS):
        raise NotALine(f"{len(words)} fields after date and time, and a line has {len(FIELDS)}")
    if words[0] == LOSS:
        return Loss(at_us=_moment(date, time), lines=packets, reason=unquote(words[-1]))
    said: dict[str, Any] = {}  # as msgspec expects it
    for name, word in zip(FIELDS, words, strict=True):
        if word == NIL:
            continue
        try:
            said[name] = int(word) if name in _NUMBERS else unquote(word, errors="strict")
        except ValueError as error:
            raise NotALine(f"{name}: {word!r}: {error}") from error
    try:
        value = {**said, "type": "np", "at_us": _moment(date, time), "packets": packets, "within_us": within_us}
        return msgspec.convert({**value, "unit": unit_of(said.get("policy", ""))}, FlowDecision)
    except ValueError as error:  # includes msgspec.ValidationError
        raise NotALine(str(error)) from error


def _write_loss(loss: Loss) -> str:
    when = _when(loss.at_us)
    unset = " ".join([NIL] * (len(FIELDS) - 2))
    return f"{when} {LOSS} {unset} {_written(loss.reason)} [{loss.lines} packets in 1s]"


def _moment(date: str, time: str) -> int:
    """Microseconds since 1970.

    Raises:
        NotALine: it is not a time.
    """
    try:
        when = datetime.strptime(f"{date} {time}", _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise NotALine(str(error)) from error
    return (when - _EPOCH) // timedelta(microseconds=1)


def unit_of(policy: str) -> Unit | None:
    """The unit of a policy in logs, `AntreaNetworkPolicy:ns/name`; None if the text names no policy."""
    source, _, name = policy.partition(":")
    kind = _KINDS.get(source)
    if kind is None or not name or ":" in name:
        return None
    namespace, slash, bare = name.partition("/")
    if (kind is Kind.CLUSTER_NETWORK_POLICY) == bool(slash):
        return None
    return subjects.unit(kind, namespace if slash else "", bare if slash else name)


def _when(at_us: int) -> str:
    second, micros = divmod(at_us, 1_000_000)
    return f"{_second(second)}.{micros:06}"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).strftime(_TIME.removesuffix(".%f"))


@lru_cache(maxsize=4096)
def _written(value: str | int | None) -> str:
    if value is None or value == "":
        return NIL
    if value == NIL:  # a name that looks like "unset"
        return value.replace("<", "%3C")
    return str(value) if isinstance(value, int) else _UNSAFE.sub(_encoded, value)


def _encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _go(micros: int) -> str:
    """A duration below a minute in Go's format: the unit is the largest with a whole part."""
    for unit, size in (("s", 1_000_000), ("ms", 1_000)):
        if micros >= size:
            return f"{micros / size:.9f}".rstrip("0").rstrip(".") + unit
    return f"{micros}µs" if micros else "0s"


def _micros(text: str) -> int:
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise NotALine(f"{text!r} is no duration, as 1.5s or 20ms")
    return round(sum(float(number) * _UNIT_US[unit] for number, unit in parts))
