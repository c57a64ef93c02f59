"""The streams, with their subjects and limits, as data. `sluice.runtime.streams` creates them.

Streams that keep the last message per subject discard *new* messages when full: a value that does not fit is refused
and the old one stays, while overwrites and tombstones of existing subjects still pass. The default (discard old) would
silently drop the oldest subjects.
"""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import NEVER, Revision

DAY_S = 86_400
HOUR_S = 3_600


class StreamSpec(Struct, frozen=True, kw_only=True):
    name: str
    subjects: tuple[str, ...] = ()
    """Subject patterns; empty for a mirror."""

    mirror: str = ""
    """The stream that it mirrors, with the same sequences."""

    last_per_subject: bool = True
    """Keep only the last message per subject; otherwise all messages, up to the limits."""

    discard: Literal["old", "new"] = "new"
    max_age_s: int = 0
    """0: no limit."""

    tombstone_ttl_s: int = HOUR_S
    """How long a tombstone is kept for readers that were offline. On LEDGER it equals `max_age_s`: if it were shorter,
    the version before the tombstone would become current again."""

    direct: bool = True
    """Allow direct gets, by any replica or mirror. Not on LEDGER: its mirror OBJECTS, without history, would answer."""

    republish: bool = False
    """Stored messages are republished under `live.`."""


LEDGER = StreamSpec(
    name="LEDGER",
    subjects=("objects.>",),
    last_per_subject=False,
    discard="old",
    max_age_s=7 * DAY_S,
    tombstone_ttl_s=7 * DAY_S,
    direct=False,
)
OBJECTS = StreamSpec(name="OBJECTS", mirror="LEDGER", tombstone_ttl_s=LEDGER.tombstone_ttl_s)
GROUPS = StreamSpec(name="GROUPS", subjects=("groups.>",), republish=True)
PROGRAMS = StreamSpec(name="PROGRAMS", subjects=("programs.>",), republish=True)
STATUS = StreamSpec(name="STATUS", subjects=("status.>",))

STATS = StreamSpec(name="STATS", subjects=("stats.>",), last_per_subject=False, discard="old", max_age_s=DAY_S)

AUDIT = StreamSpec(
    name="AUDIT",
    subjects=("audit.>",),
    last_per_subject=False,
    discard="old",
    max_age_s=7 * DAY_S,
    tombstone_ttl_s=7 * DAY_S,
)

CHECKPOINTS = StreamSpec(
    name="CHECKPOINTS",
    subjects=("ledger.>",),
    discard="old",
    max_age_s=7 * DAY_S,
    tombstone_ttl_s=7 * DAY_S,
)

MULTICAST = StreamSpec(name="MULTICAST", subjects=("multicast.>",), max_age_s=HOUR_S, republish=True)

ACTIONS = StreamSpec(
    name="ACTIONS",
    subjects=("actions.>",),
    last_per_subject=False,
    discard="old",
    max_age_s=90 * DAY_S,
    tombstone_ttl_s=90 * DAY_S,
)

STREAMS: tuple[StreamSpec, ...] = (
    LEDGER,
    OBJECTS,
    GROUPS,
    PROGRAMS,
    STATUS,
    STATS,
    AUDIT,
    CHECKPOINTS,
    MULTICAST,
    ACTIONS,
)
"""In order of creation: a mirror after its source."""

BY_NAME: dict[str, StreamSpec] = {spec.name: spec for spec in STREAMS}

DUPLICATE_WINDOW_S = 120
"""How long a stream remembers a Nats-Msg-Id for deduplication."""

MAX_PAYLOAD_BYTES = 8 << 20
"""Limit for one message; the server's max_payload is set to it."""

MAX_BYTES = 2 << 30
"""Limit for one stream, unless the deployment sets another."""


CAUSE_HEADER = "Sluice-Cause"
"""The OBJECTS revision that the message reflects, "<epoch>.<sequence>". A header, as tombstones have no body."""

WRITER_HEADER = "Sluice-Writer"
"""Which run of which writer stored the message: lets a writer tell its own earlier attempt from another writer."""

TIME_HEADER = "Sluice-Time"
"""When the message was first stored, nanoseconds since 1970. Set on the entries of a restored ledger."""


def cause_text(cause: Revision) -> str:
    """The cause as the value of its header."""
    return f"{cause.epoch}.{cause.sequence}"


_NO_CAUSE = cause_text(NEVER)


def parse_cause(text: str) -> Revision:
    """The cause in a header; NEVER if it is malformed."""
    if text == _NO_CAUSE:
        return NEVER
    epoch, _, sequence = text.partition(".")
    if not (epoch.isascii() and epoch.isdigit() and sequence.isascii() and sequence.isdigit()):
        return NEVER
    return Revision(int(epoch), int(sequence))
