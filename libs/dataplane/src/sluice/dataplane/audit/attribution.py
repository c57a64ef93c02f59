"""Which rules the lines of np.log refer to, in more detail than they say: `attribution.jsonl`, beside np.log.

A line names a policy and a priority, but a reader may want the rule, and the objects as they were. node-ovs writes an
entry before it commits the flows that the entry is about, so a reader of a line finds its entry in the file. An entry
holds from its time until a later one on the same subject: the id of a rule, or the Pod and direction of an isolation.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from sluice.contracts.audit import Attribution, Decision
from sluice.contracts.ids import Revision, Unit

Toward = Literal["Ingress", "Egress"]

ISOLATION_POLICY = "K8sNetworkPolicy"
"""The policy in lines of packets that were dropped by isolation, not by a single policy."""


class Deciding(Struct, frozen=True, kw_only=True, tag="rule", omit_defaults=True):
    """Defines a rule that logs, and what its lines look like."""

    id: int
    """The rule's id in the switch: conj_id, cookie and reg2."""

    table: str
    policy: str
    rule: str = ""
    direction: Toward
    action: Decision
    priority: int | None = None
    label: str = ""
    unit: Unit
    index: int | None = None
    """Index of the rule in its list; unset: not a rule, but the isolation by the policy."""

    revision: Revision
    """The last change of objects that the rule reflects."""


class Ended(Struct, frozen=True, kw_only=True, tag="end"):
    """The rule no longer logs. Its number may be reused."""

    id: int


class Isolated(Struct, frozen=True, kw_only=True, tag="isolated"):
    """The Pod is isolated by these policies and no others that log."""

    pod: str
    """`namespace/name`"""

    direction: Toward
    by: tuple[Attribution, ...]
    """Sorted by unit."""


class Begun(Struct, frozen=True, kw_only=True, tag="begun"):
    """Earlier entries no longer hold; those that still do follow again."""


class Decided(Struct, frozen=True, kw_only=True, tag="decided"):
    """The line with exactly this timestamp belongs to this rule; several rules have lines that look alike."""

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
    """The line, including the newline."""
    return _encoder.encode(entry) + b"\n"


def read(line: bytes) -> Entry:
    """Parse a line.

    Raises:
        msgspec.DecodeError: it is not a line of attribution.jsonl.
    """
    return _decoder.decode(line)
