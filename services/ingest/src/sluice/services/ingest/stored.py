"""What the stream holds when ingest starts, and which source it comes from."""

from collections.abc import Mapping

import structlog

from sluice.contracts import codec, known_part, subjects
from sluice.contracts.objects import Listed
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.services.ingest.catalog import Key

log = structlog.get_logger()

PATTERN = "objects.>"


class OtherSource(RuntimeError):
    """The objects in the stream come from another source, and this one must not replace them."""


async def current(bus: Bus) -> dict[str, bytes]:
    """The contents of OBJECTS by subject. Unlike LEDGER, it does not expire messages by age."""
    held: dict[str, bytes] = {}
    async with follow(bus, "OBJECTS", (PATTERN,)) as events:
        async for event in events:
            match event:
                case Message(subject=subject, body=body):
                    held[subject] = body
                case NewEpoch():
                    held.clear()
                case CaughtUp():
                    break
    return {subject: body for subject, body in held.items() if body}


def check_source(held: Mapping[str, bytes], source: str) -> None:
    """Check that the objects come from this source, or that there are none.

    Raises:
        OtherSource: they come from another source.
    """
    for subject, body in sorted(held.items()):
        if not isinstance(subjects.known(subject), subjects.ListedSubject):
            continue
        try:
            other = codec.decode(body, Listed).source
        except codec.Undecodable as error:
            log.error("mark_rejected", subject=subject, reason=str(error))
            continue
        if other != source:
            raise OtherSource(
                f"{subject}: the objects in the stream come from {other}, but this ingest reads {source}; a "
                "deployment has only one source: start ingest with the former, or first delete the streams "
                "LEDGER and OBJECTS"
            )


def uids(held: Mapping[str, bytes]) -> dict[Key, str]:
    """The objects in the stream with their uids; the uid is empty if the body does not decode."""
    found: dict[Key, str] = {}
    for subject, body in held.items():
        match _parsed(subject):
            case subjects.ObjectSubject(kind=kind, namespace=namespace, name=name):
                try:
                    uid = known_part.decode(kind, body).metadata.uid
                except codec.Undecodable as error:
                    log.error("object_rejected", subject=subject, reason=str(error))
                    uid = ""
                found[Key(kind, namespace, name)] = uid
            case _:
                pass
    return found


def _parsed(subject: str) -> subjects.Subject | None:
    try:
        return subjects.parse(subject)
    except subjects.BadSubject as error:
        log.error("subject_rejected", subject=subject, reason=str(error))
        return None
