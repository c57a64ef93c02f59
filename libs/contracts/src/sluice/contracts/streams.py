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
    """Patterns; a mirror has none of its own."""

    mirror: str = ""
    """The stream whose messages and sequences it repeats."""

    last_per_subject: bool = True
    """Only the last message of each subject is kept; otherwise all are, up to the limits."""

    discard: Literal["old", "new"] = "new"
    max_age_s: int = 0
    """0: no limit."""

    tombstone_ttl_s: int = HOUR_S
    """How long a tombstone stays for those who were away. On LEDGER exactly its max age: a shorter one would bring
    the version before it back to life."""

    direct: bool = True
    """Any replica and the mirrors may answer reads. Not on LEDGER: OBJECTS would answer for it, and has no history."""

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
"""In the order in which they are made: a mirror after its source."""

BY_NAME: dict[str, StreamSpec] = {spec.name: spec for spec in STREAMS}

DUPLICATE_WINDOW_S = 120
"""How long a stream remembers Nats-Msg-Id."""

MAX_PAYLOAD_BYTES = 8 << 20
"""Of one message; the server's limit is set to it."""

MAX_BYTES = 2 << 30
"""Of one stream, unless the deployment says otherwise."""


CAUSE_HEADER = "Sluice-Cause"
"""What the writer derived the message from, "<epoch>.<sequence>" in OBJECTS: a tombstone has no body to say it."""

WRITER_HEADER = "Sluice-Writer"
"""Which run of which writer stored the message: how a writer tells an earlier try of its own from another writer."""

TIME_HEADER = "Sluice-Time"
"""When the message was stored first, nanoseconds since 1970: on entries of a ledger that was put back."""


def cause_text(cause: Revision) -> str:
    """The cause as its header says it."""
    return f"{cause.epoch}.{cause.sequence}"


_NO_CAUSE = cause_text(NEVER)


def parse_cause(text: str) -> Revision:
    """The cause that a header says; NEVER for one that says none."""
    if text == _NO_CAUSE:
        return NEVER
    epoch, _, sequence = text.partition(".")
    if not (epoch.isascii() and epoch.isdigit() and sequence.isascii() and sequence.isdigit()):
        return NEVER
    return Revision(int(epoch), int(sequence))
