"""Parses and admits a file's bytes. Pure."""

from sluice.admission.admit import admit
from sluice.contracts import jsonpath
from sluice.contracts.status import DocumentProblem
from sluice.kube.manifest import Document, Ignored, Unsupported, parse
from sluice.services.ingest.catalog import Contents

UNREADABLE = "unreadable"
"""Used in place of the digest of an unreadable file; differs from every digest."""


def contents_of(content: bytes, file: str) -> Contents:
    documents: list[Document] = []
    problems: list[DocumentProblem] = []
    ignored: set[str] = set()
    whole = True
    for found in parse(content, file):
        match found:
            case Document():
                refused = [found.problem(path, reason) for path, reason in admit(found.object)]
                if not refused:
                    documents.append(found)
                problems += refused
                whole = whole and not refused
            case Unsupported():
                problems.append(found)
            case DocumentProblem():
                problems.append(found)
                whole = False
            case Ignored():
                ignored.update(found.hints or (f"{found.kind} of {found.api_version}",))
    return Contents(tuple(documents), tuple(problems), whole, tuple(sorted(ignored)))


def unreadable(file: str, reason: str) -> Contents:
    return Contents((), (trouble(file, reason),), whole=False)


def trouble(file: str, reason: str) -> DocumentProblem:
    """A problem of a whole file or folder; its line is 0."""
    return DocumentProblem(file=file, line=0, path=jsonpath.ROOT, reason=reason)
