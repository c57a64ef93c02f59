"""What the lines of np.log are about, beyond what they say: `attribution.jsonl`, beside it.

A line names a policy and a priority, and a reader may want the rule, and the objects as they were. node-ovs writes an
entry before the flows that it is about are committed, so whoever has a line finds its entry in the file. Entries hold
from their time until a later one about the same: of a rule by its id, of isolation by Pod and direction.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from sluice.contracts.audit import Attribution, Decision
from sluice.contracts.ids import Revision, Unit

Toward = Literal["Ingress", "Egress"]

ISOLATION_POLICY = "K8sNetworkPolicy"
"""What a line names that no one policy has decided."""


class Deciding(Struct, frozen=True, kw_only=True, tag="rule", omit_defaults=True):
    """A rule logs what it decides, and its lines look so."""

    id: int
    """In the switch: conj_id, cookie and reg2."""

    table: str
    policy: str
    rule: str = ""
    direction: Toward
    action: Decision
    priority: int | None = None
    label: str = ""
    unit: Unit
    index: int | None = None
    """Of the rule in its list; unset: no rule of the policy, but that it isolates."""

    revision: Revision
    """The last change of objects that the rule reflects."""


class Ended(Struct, frozen=True, kw_only=True, tag="end"):
    """The rule logs no more. The number is free for another."""

    id: int


class Isolated(Struct, frozen=True, kw_only=True, tag="isolated"):
    """These policies, and no others that log, isolate the Pod."""

    pod: str
    """`namespace/name`"""

    direction: Toward
    by: tuple[Attribution, ...]
    """Sorted by unit."""


class Begun(Struct, frozen=True, kw_only=True, tag="begun"):
    """What was said before holds no longer; what still does follows."""


class Decided(Struct, frozen=True, kw_only=True, tag="decided"):
    """The line of just this microsecond is of this rule, for several have lines that look alike."""

    id: int


What = Deciding | Ended | Isolated | Begun | Decided


class Entry(Struct, frozen=True, kw_only=True):
    """A line of attribution.jsonl."""

    at_us: int
    """Microseconds since 1970, UTC."""

    what: What


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def write(entry: Entry) -> bytes:
    """The line, with its end."""
    return _encoder.encode(entry) + b"\n"


def read(line: bytes) -> Entry:
    """What the line says.

    Raises:
        msgspec.DecodeError: it is none of attribution.jsonl.
    """
    return _decoder.decode(line)
