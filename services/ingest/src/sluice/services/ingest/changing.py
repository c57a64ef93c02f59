"""Changes through the API, made at the source by ingest: only ingest can write there, and it reads them back.

Nothing is written to LEDGER here. The source is changed, and then read as usual. So everything downstream treats
changes made by hand and changes through the API alike.
"""

from typing import Protocol, assert_never

import structlog

from sluice.contracts import codec, subjects
from sluice.contracts.actions import Accepted, AnyAnswer, AnyQuestion, Declined, DeleteQuestion, PutQuestion
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import RESOURCES
from sluice.kube.manifest import Document, Ignored, parse
from sluice.runtime.answering import answer
from sluice.runtime.bus import Bus
from sluice.runtime.output import Output
from sluice.services.ingest.catalog import Key

log = structlog.get_logger()

_NOBODY = Revision(0, 0)


class Refusal(Exception):
    """The change is refused: why, what to do, and the best matching HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Writer(Protocol):
    """A source that can be written to."""

    async def put(self, key: Key, document: Document, known: bytes) -> bool:
        """Create or replace the object; False if it was the same. `known`: its body in the ledger, empty if absent.

        Raises:
            Refusal
        """

    async def delete(self, key: Key, known: bytes) -> None:
        """Delete the object.

        Raises:
            Refusal
        """


class Changing:
    """Handles write requests, one at a time."""

    def __init__(self, ledger: Output, writer: Writer) -> None:
        self._ledger, self._writer = ledger, writer

    async def run(self, bus: Bus) -> None:
        """Run until cancelled."""
        await answer(bus, subjects.WRITE, self.answer)

    async def answer(self, question: bytes) -> AnyAnswer:
        """Make the change and return the outcome. Never raises."""
        try:
            asked: AnyQuestion = codec.decode(question, AnyQuestion)  # type: ignore[arg-type]  # a union is not a type
            changed = await self._change(asked)
        except codec.Undecodable as error:
            return Declined(status=400, reason=str(error))
        except Refusal as error:
            return Declined(status=error.status, reason=error.reason)
        log.info("object_changed_on_demand", verb=type(asked).__name__, kind=asked.kind, name=asked.name)
        return Accepted(changed=changed)

    async def _change(self, asked: AnyQuestion) -> bool:
        key = Key(asked.kind, asked.namespace, asked.name)
        if not RESOURCES[key.kind].written:
            raise Refusal(
                422, f"{key}: {RESOURCES[key.kind].plural} cannot be changed here, because the cluster maintains them"
            )
        known, revision = self._ledger.held(subjects.object_(*key))
        here = revision if known else _NOBODY
        if asked.expected is not None and asked.expected != here:
            there = f"it is at revision {here.sequence}" if known else "it does not exist"
            raise Refusal(412, f"{key} was changed meanwhile: {there}; read it again, then decide")
        match asked:
            case PutQuestion():
                return await self._writer.put(key, document_of(key, asked.body), known)
            case DeleteQuestion():
                if not known:
                    raise Refusal(404, f"{key}: there is no such object")
                await self._writer.delete(key, known)
                return True
            case _:
                assert_never(asked)


def document_of(key: Key, body: bytes) -> Document:
    """Return the object in the body, if it is the one that the key names.

    Raises:
        Refusal: it is another object, or none.
    """
    found = parse(body, "object.json")
    match found:
        case [Document() as document] if Key(document.kind, *document.object.key) == key:
            return document
        case [Document() as document]:
            raise Refusal(422, f"the body is {Key(document.kind, *document.object.key)}, not {key}")
        case _:
            reasons = [f"{one.path}: {one.reason}" for one in found if not isinstance(one, Document | Ignored)]
            raise Refusal(422, "; ".join(reasons) or f"the body is not a {RESOURCES[key.kind].kind}")
