"""What the stream holds when ingest starts, and whose it is."""

from collections.abc import Mapping

import structlog

from sluice.contracts import codec, subjects
from sluice.contracts.objects import TYPES, Listed
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.services.ingest.catalog import Key

log = structlog.get_logger()

PATTERN = "objects.>"


class OtherSource(RuntimeError):
    """The objects in the stream come from another source: this one must not replace them."""


async def current(bus: Bus) -> dict[str, bytes]:
    """What OBJECTS holds, by subject. It remembers longer than LEDGER, which forgets by age."""
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
    """Return if the objects are this source's, or nobody's.

    Raises:
        OtherSource: they are another's.
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
                f"{subject}: the objects in the stream come from {other}, and this is {source}; a deployment has one "
                "source: start ingest with that one, or delete the streams LEDGER and OBJECTS first"
            )


def uids(held: Mapping[str, bytes]) -> dict[Key, str]:
    """The objects that the stream holds, with their uids; an empty one where the body does not decode."""
    found: dict[Key, str] = {}
    for subject, body in held.items():
        match _parsed(subject):
            case subjects.ObjectSubject(kind=kind, namespace=namespace, name=name):
                try:
                    uid = codec.decode(body, TYPES[kind]).metadata.uid
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
