"""Parses YAML text into nodes: a safe loader.

It builds nothing but maps, lists and scalars. Refused: tags (except `!!str`), duplicate keys, keys that are not text,
too much nesting, and aliases that would blow up the document. Documents are split before any is parsed, so that a
syntax error in one does not affect the others.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import yaml

from sluice.kube import scalars
from sluice.kube.nodes import MAX_ALIASED, MAX_DEPTH, Entry, Malformed, Map, Node, Reading, Scalar, Sequence

PARSERS: tuple[Any, ...] = (  # Any: the stubs have no common type for the two
    (yaml.CSafeLoader, yaml.SafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)
)
"""The available parsers, the fastest first. Only their events are used, never their constructors."""

# At the start of a line, `---` begins a document in any context (YAML 1.1, section 4.3.1 `c-forbidden`).
_BOUNDARY = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_NOTHING = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)|%[^\n]*(?:\n|\Z)|\.\.\.[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z))*")
_TEXT_TAGS = frozenset(("!", "tag:yaml.org,2002:str"))
_MERGE = "<<"


class Chunk(NamedTuple):
    """The text of one document."""

    line: int
    """Line of its first character, 1-based."""

    text: str


def chunks(text: str) -> Iterator[Chunk]:
    """Split the text at its `---` lines; a piece with only comments, directives and blank lines is not a chunk."""
    starts = [0, *(found.start() for found in _BOUNDARY.finditer(text)), len(text)]
    line = 1
    for start, end in pairwise(starts):
        piece = text[start:end]
        if not _NOTHING.fullmatch(piece):
            yield Chunk(line, piece)
        line += piece.count("\n")


def documents(chunk: Chunk, parser: Any = PARSERS[0], *, words: frozenset[str] = frozenset()) -> Iterator[Node]:
    """The documents of a chunk: one, or more where `...` ends them.

    Args:
        words: keys that are text, whatever YAML makes of them: a format of our own may have a field `on`.

    Raises:
        Malformed: the text is not YAML, or not in the form that we accept.
    """
    try:
        events = yaml.parse(chunk.text, Loader=parser)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield _Composer(events, chunk.line, words).compose(next(events), depth=1).node
    except yaml.reader.ReaderError as error:
        line = chunk.line + chunk.text.count("\n", 0, error.position)
        raise Malformed(line, f"the character U+{error.character:04X} is not allowed in YAML; remove it") from error
    except yaml.MarkedYAMLError as error:
        raise _malformed(chunk, error) from error
    except Malformed:
        raise
    except (OverflowError, ValueError) as error:  # PyYAML's own scanner lets chr() fail on an escape
        raise Malformed(chunk.line, f"not YAML: {error}; check the escapes in quoted text") from error


class _Composed(NamedTuple):
    node: Node
    size: int
    """Number of values, with aliases expanded."""

    height: int
    """Levels of maps and lists."""


class _Composer:
    """Builds the nodes of one document from the parser's events."""

    def __init__(self, events: Iterator[Any], first_line: int, words: frozenset[str]) -> None:
        self._events = events
        self._first_line = first_line
        self._words = words
        self._anchored: dict[str, _Composed] = {}
        self._aliased = 0

    def compose(self, event: Any, depth: int) -> _Composed:
        """The node that begins with this event; `depth` is its level, 1 for the root."""
        line = self._first_line + event.start_mark.line
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line, depth)
        if depth > MAX_DEPTH and not isinstance(event, yaml.ScalarEvent):
            raise Malformed(line, f"nested deeper than {MAX_DEPTH} levels; no Kubernetes object is")
        if event.anchor:
            self._anchored.pop(event.anchor, None)  # an anchor may be redefined, but not inside the value that it names
        match event:
            case yaml.ScalarEvent():
                made = _Composed(_scalar(event, line), 1, 0)
            case yaml.SequenceStartEvent():
                made = self._sequence(event, line, depth)
            case _:
                made = self._map(event, line, depth)
        if event.anchor:
            self._anchored[event.anchor] = made
        return made

    def _alias(self, name: str, line: int, depth: int) -> _Composed:
        made = self._anchored.get(name)
        if made is None:
            raise Malformed(line, f"*{name} refers to no complete value above it; write the value out")
        self._aliased += made.size
        if self._aliased > MAX_ALIASED or depth + made.height > MAX_DEPTH:
            raise Malformed(
                line,
                f"*{name} and other aliases make the document too large; write the values out, or split the document",
            )
        return made

    def _sequence(self, event: Any, line: int, depth: int) -> _Composed:
        _untagged(event, line, "tag:yaml.org,2002:seq")
        items: list[Node] = []
        size, height = 1, 0
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            made = self.compose(item, depth + 1)
            items.append(made.node)
            size, height = size + made.size, max(height, made.height)
        return _Composed(Sequence(line, tuple(items)), size, height + 1)

    def _map(self, event: Any, line: int, depth: int) -> _Composed:
        _untagged(event, line, "tag:yaml.org,2002:map")
        entries: dict[str, Entry] = {}
        merged: list[Map] = []
        size, height = 1, 0
        while not isinstance(begin := next(self._events), yaml.MappingEndEvent):
            key = self.compose(begin, depth + 1).node
            merges = isinstance(begin, yaml.ScalarEvent) and begin.implicit[0] and begin.value == _MERGE
            made = self.compose(next(self._events), depth + 1)
            size, height = size + made.size, max(height, made.height)
            if merges:
                merged += _merged(made.node, key.line)
                continue
            name = _key(key, self._words)
            if name in entries:
                raise Malformed(
                    key.line, f"the key `{name}` is given twice, first in line {entries[name].line}; remove one of them"
                )
            entries[name] = Entry(key.line, made.node)
        for source in merged:  # entries of the map itself win, then those of the earlier merged map
            for name, entry in source.entries.items():
                entries.setdefault(name, entry)
        return _Composed(Map(line, entries), size, height + 1)


def _scalar(event: Any, line: int) -> Scalar:
    plain, quoted = event.implicit
    if plain and event.tag in (None, ""):
        return scalars.plain_word(line, event.value)
    if not quoted and event.tag not in _TEXT_TAGS:
        raise Malformed(line, f"the tag {scalars.shortened(event.tag)} is not supported; write the plain value")
    return scalars.text(line, event.value)


def _untagged(event: Any, line: int, own: str) -> None:
    if event.tag not in (None, "", "!", own):
        raise Malformed(line, f"the tag {scalars.shortened(event.tag)} is not supported; write the plain value")


def _key(node: Node, words: frozenset[str]) -> str:
    match node:
        case Scalar(reading=reading, text=text) if reading is Reading.TEXT or text in words:
            return text
        case Scalar():
            raise Malformed(
                node.line, f'the key `{node.text}` is {node.reading} in YAML, not text; quote it: "{node.text}"'
            )
        case _:
            raise Malformed(node.line, "a map or a list cannot be a key; write a text, or quote what looks like `{…}`")


def _merged(node: Node, line: int) -> list[Map]:
    sources = node.items if isinstance(node, Sequence) else (node,)
    maps = [source for source in sources if isinstance(source, Map)]
    if len(maps) < len(sources):
        raise Malformed(line, "`<<` merges maps only; name a map, or a list of maps")
    return maps


def _malformed(chunk: Chunk, error: yaml.MarkedYAMLError) -> Malformed:
    mark = error.problem_mark or error.context_mark
    lines = chunk.text.rstrip("\n").split("\n")
    row = min(mark.line if mark else 0, len(lines) - 1)  # the parsers put the end one line after the last
    line = chunk.line + row
    said = error.problem or str(error)
    if mark and lines[row][mark.column : mark.column + 1] == "\t":
        return Malformed(line, "a tab where YAML wants spaces; indent with spaces")
    context = f" ({error.context})" if error.context else ""
    return Malformed(line, f"not YAML: {said}{context}; check indentation, colons and quotes here and just above")
