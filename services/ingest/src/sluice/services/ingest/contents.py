"""A file's bytes to what it says: parsed and admitted. Pure."""

from sluice.admission.admit import admit
from sluice.contracts import codec, jsonpath
from sluice.contracts.status import DocumentProblem
from sluice.kube.manifest import Document, Ignored, Unsupported, parse
from sluice.services.ingest.catalog import Contents

UNREADABLE = "unreadable"
"""In place of the digest of a file that could not be read: no content has it."""


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
    """A file or folder of which nothing is known. It has no lines: 0."""
    return DocumentProblem(file=file, line=0, path=jsonpath.ROOT, reason=reason)


def digest_of(content: bytes) -> str:
    return codec.digest(content)
