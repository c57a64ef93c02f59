"""Parses JSON text into nodes with lines. YAML's grammar covers most JSON but not all of it: tabs, for example."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator

from sluice.kube import scalars
from sluice.kube.nodes import MAX_DEPTH, Entry, Malformed, Map, Node, Reading, Scalar, Sequence

_SPACE = re.compile(r"[ \t\r\n]*")  # RFC 8259, section 2
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)")  # RFC 8259, section 6
_PLAIN = re.compile(r'"([ !#-\[\]-~]*)"')
"""Text in ASCII without escapes, as nearly all of it is: the general way takes three times as long."""

_PLAIN_KEY = re.compile(rf"[ \t\r\n]*{_PLAIN.pattern}[ \t\r\n]*:")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_WORD = re.compile("|".join(_WORDS))


def documents(text: str) -> Iterator[Node]:
    """The values in the text, one after the other.

    Raises:
        Malformed: the text is not JSON, contains a duplicate key, or is nested too deeply.
    """
    scanner = _Scanner(text)
    while not scanner.at_end():
        yield scanner.value(depth=1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._strings = json.JSONDecoder()

    def at_end(self) -> bool:
        return self._peek() == ""

    def value(self, depth: int) -> Node:
        begin = self._peek()
        line = self._line()
        if depth > MAX_DEPTH and begin in "{[":
            raise Malformed(line, f"nested deeper than {MAX_DEPTH} levels; no Kubernetes object is")
        match begin:
            case "{":
                return self._map(line, depth)
            case "[":
                return self._sequence(line, depth)
            case '"':
                if plain := _PLAIN.match(self._text, self._at):
                    self._at, written = plain.end(), plain[1]
                    return Scalar(line, Reading.TEXT, written, written)
                return scalars.text(line, self._string())
        if number := _NUMBER.match(self._text, self._at):
            self._at = number.end()
            written, fraction = number[0], number[2]
            if fraction:
                return scalars.number(line, written, float(written))
            return scalars.integer(line, written, int(written[:64]))  # longer is out of range whatever follows
        if word := _WORD.match(self._text, self._at):
            self._at = word.end()
            value = _WORDS[word[0]]
            return Scalar(line, Reading.NULL if value is None else Reading.BOOLEAN, value, word[0])
        raise self._unexpected("a value")

    def _map(self, line: int, depth: int) -> Map:
        entries: dict[str, Entry] = {}
        for _ in self._members("}"):
            if plain := _PLAIN_KEY.match(self._text, self._at):
                key_line, key = bisect_left(self._breaks, plain.start(1)) + 1, plain[1]
                self._at = plain.end()
            else:
                key_line, key = self._key()
            if key in entries:
                raise Malformed(
                    key_line, f"the key `{key}` is given twice, first in line {entries[key].line}; remove one of them"
                )
            if not plain:
                self._take(":")
            entries[key] = Entry(key_line, self.value(depth + 1))
        return Map(line, entries)

    def _key(self) -> tuple[int, str]:
        """A key with its line, however it is written."""
        if self._peek() != '"':
            raise self._unexpected('a key in "quotes"')
        key_line = self._line()
        return key_line, scalars.text(key_line, self._string()).text

    def _sequence(self, line: int, depth: int) -> Sequence:
        return Sequence(line, tuple(self.value(depth + 1) for _ in self._members("]")))

    def _members(self, end: str) -> Iterator[None]:
        """Yield where each member begins, until the end."""
        self._at += 1
        if self._peek() == end:
            self._at += 1
            return
        while True:
            yield
            after = self._peek()
            if after == end:
                self._at += 1
                return
            if after != ",":
                raise self._unexpected("`,`")
            self._at += 1

    def _string(self) -> str:
        try:
            value, self._at = self._strings.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            line = bisect_left(self._breaks, error.pos) + 1
            raise Malformed(line, f"not JSON: {error.msg}; escape it, or close the text with a quote") from error
        return str(value)

    def _take(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise self._unexpected(f"`{wanted}`")
        self._at += 1

    def _peek(self) -> str:
        """The next character that is not whitespace; empty at the end."""
        if (here := self._text[self._at : self._at + 1]) > " ":
            return here
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _line(self) -> int:
        return bisect_left(self._breaks, self._at) + 1

    def _unexpected(self, wanted: str) -> Malformed:
        found = self._text[self._at : self._at + 1]
        return Malformed(self._line(), f"not JSON: {wanted} expected, found {f'`{found}`' if found else 'the end'}")
