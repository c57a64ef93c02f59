"""Turns lines into events; an unreadable line is counted and shown, never dropped silently."""

from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from sluice.contracts.audit import AuditEvent, Log, Loss
from sluice.dataplane.audit import eve, np_line
from sluice.dataplane.audit.np_line import NotALine

EXAMPLE_CHARACTERS = 512
"""How much of an unreadable line is shown."""


def reader(log: Log) -> Callable[[bytes], AuditEvent]:
    """The function that parses a line of the log; it raises NotALine."""
    match log:
        case "np":
            return _np
        case "l7":
            return eve.read
        case _:
            assert_never(log)


def events(log: Log, lines: Iterable[bytes], now_us: int) -> Iterator[AuditEvent]:
    """The events in the lines. Blank lines are skipped."""
    read = reader(log)
    for line in lines:
        if not line.strip():
            continue
        try:
            yield read(line)
        except NotALine as error:
            shown = line[:EXAMPLE_CHARACTERS].decode(errors="backslashreplace")
            yield Loss(at_us=now_us, lines=1, size_bytes=len(line), reason=f"not readable: {error}", example=shown)


def _np(line: bytes) -> AuditEvent:
    try:
        return np_line.read(line.decode())
    except UnicodeDecodeError as error:
        raise NotALine(str(error)) from error
