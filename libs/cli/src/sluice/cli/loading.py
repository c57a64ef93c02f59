"""Loads objects from files as ingest does with a folder: parse, admit, and let the first of two duplicates count."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from msgspec import Struct

from sluice.admission.admit import admit, cautions
from sluice.admission.among import admit_all, cautions_among
from sluice.admission.context import Known
from sluice.cli import progress
from sluice.cli.options import refuse
from sluice.cli.uncollected import uncollected
from sluice.contracts.kinds import RESOURCES
from sluice.contracts.status import DocumentProblem
from sluice.kube.digest import is_manifest
from sluice.kube.manifest import Document, Ignored, Parsed, parse


class Entry(Struct, frozen=True):
    """A document, and its problems."""

    parsed: Parsed
    problems: tuple[DocumentProblem, ...] = ()
    cautions: tuple[DocumentProblem, ...] = ()
    """Warnings about a document that is admitted."""

    @property
    def line(self) -> int:
        return self.parsed.line

    @property
    def file(self) -> str:
        return self.parsed.file


@uncollected()
def load(paths: Sequence[str]) -> list[Entry]:
    """Every document in these files and folders, in order; an unreadable file ends the command."""
    taken: dict[tuple[str, ...], Document] = {}
    entries: list[Entry] = []
    with progress.shown() as tell:
        for name, content in _contents(paths):
            for parsed in parse(content, name):
                entries.append(_judged(parsed, taken))
                tell(f"{len(entries)} objects read, now in {name}")
        if not entries:
            click.echo(f"{', '.join(paths)}: there are no objects in it", err=True)
        return _among(entries)


def load_all(paths: Sequence[str]) -> list[Document]:
    """The objects; one that is not admitted ends the command."""
    entries = load(paths)
    problems = [problem for entry in entries for problem in entry.problems]
    if problems:
        refuse([problem.words() for problem in problems])
    return [entry.parsed for entry in entries if isinstance(entry.parsed, Document)]


def _judged(parsed: Parsed, taken: dict[tuple[str, ...], Document]) -> Entry:
    match parsed:
        case Ignored():
            return Entry(parsed)
        case DocumentProblem():
            return Entry(parsed, (parsed,))
        case Document():
            problems = [parsed.problem(path, reason) for path, reason in admit(parsed.object)]
            meta = parsed.object.metadata
            for field, claim in (("name", (parsed.kind, meta.namespace, meta.name)), ("uid", (meta.uid,))):
                first = taken.setdefault(claim, parsed) if all(claim[-1:]) else parsed
                if first is not parsed:
                    where = f"in {first.file}, line {first.line}"
                    reason = f"the {field} of {title(first)} {where}, which comes first; remove one of them"
                    problems.append(parsed.problem(f"$.metadata.{field}", reason))
            return Entry(parsed, tuple(problems))


def _among(entries: list[Entry]) -> list[Entry]:
    """The problems and warnings of otherwise valid objects in the context of all others."""
    good = [entry.parsed for entry in entries if isinstance(entry.parsed, Document) and not entry.problems]
    known = Known()
    found = admit_all([document.object for document in good], known)
    judged: dict[int, Entry] = {}
    for document, refused in zip(good, found, strict=True):
        said = () if refused else (*cautions(document.object), *cautions_among(document.object, known))
        judged[id(document)] = Entry(
            document,
            tuple(document.problem(*refusal) for refusal in refused),
            tuple(document.problem(*caution) for caution in said),
        )
    return [judged.get(id(entry.parsed), entry) for entry in entries]


def title(document: Document) -> str:
    """Kind and name."""
    return f"{RESOURCES[document.kind].kind} {'/'.join(filter(None, document.object.key))}"


def _contents(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if path == "-":
            if sys.stdin is None:
                refuse(["-: standard input is closed; redirect a file into it"])
            yield path, sys.stdin.buffer.read()
            continue
        for file in _files(Path(path)):
            try:
                yield str(file), file.read_bytes()
            except FileNotFoundError:
                refuse([f"{file}: no such file or folder; check the path"])
            except OSError as error:
                refuse([f"{file}: {error.strerror or error}; make it readable, or leave it out"])


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if is_manifest(file.relative_to(path).as_posix()))
    if not found:
        refuse([f"{path}: there is no manifest in this folder: files end in .yaml, .yml or .json"])
    return found
