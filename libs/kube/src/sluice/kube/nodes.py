"""A document as written: values that keep their line, and how each plain word was interpreted.

Both front ends, YAML and JSON, make these nodes; nothing after them can tell the two apart.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

from msgspec import Struct

T = TypeVar("T")

MAX_DEPTH = 64
"""Maximum depth of maps and lists in a document. A Kubernetes object has about fifteen levels; more is an attack."""

MAX_ALIASED = 100_000
"""Values that YAML aliases may add to a document. Normal reuse stays far below; a bomb reaches it at once."""

MAX_DOCUMENT_BYTES = 16 << 20
"""Maximum size of one file. Ten thousand Pods as a list are about 30 MB: such a list must be split."""

INTEGERS = range(-(2**63), 2**64)
"""What JSON can carry in a message (msgspec: int64 and uint64)."""


class Malformed(ValueError):
    """The text is not YAML or JSON in the form that we accept. Says in which line (1-based) and what to do."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class Reading(StrEnum):
    """The type of a scalar in YAML 1.1 or JSON; the values are worded for messages."""

    TEXT = "text"
    INTEGER = "an integer"
    NUMBER = "a number"
    BOOLEAN = "a boolean"
    NULL = "null"
    TIMESTAMP = "a date"


class Scalar(Struct, frozen=True):
    line: int
    reading: Reading
    value: str | int | float | bool | None
    """A date is kept as text: JSON has no dates."""

    text: str
    """As written, without quotes and escapes."""


class Sequence(Struct, frozen=True):
    line: int
    items: tuple["Node", ...]


class Entry(NamedTuple):
    line: int
    """Line of the key."""

    node: "Node"


class Map(Struct, frozen=True):
    line: int
    entries: Mapping[str, Entry]


Node = Scalar | Sequence | Map


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.reading is Reading.NULL


def plain(node: Node) -> object:
    """The node's value without lines. A null in a map means unset and is left out, as in Kubernetes."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Map():
            return {key: plain(entry.node) for key, entry in node.entries.items() if not is_null(entry.node)}


def literal(node: Node) -> object:
    """The node's value without lines, and with every null."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [literal(item) for item in node.items]
        case Map():
            return {key: literal(entry.node) for key, entry in node.entries.items()}


def line_at(node: Node, steps: tuple[str | int, ...]) -> int:
    """The line of the field that these steps lead to, or of the last one that exists on the way."""
    line = node.line
    for step in steps:
        match node:
            case Map() if isinstance(step, str) and step in node.entries:
                line, node = node.entries[step]
            case Sequence() if isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                line = node.line
            case _:
                break
    return line
