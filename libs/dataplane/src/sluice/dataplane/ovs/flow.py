"""Flows as values: the lowering produces them, the plan compares, the driver encodes and the walker executes them.

A flow's identity in the switch is (table, priority, match); two flows are equal if their actions and cookies also
agree. Matches include their prerequisites (dl_type, nw_proto) and have one canonical form, so a flow read back from the
switch equals the flow that was sent.
"""

from typing import Literal, NamedTuple

from msgspec import Struct

from sluice.dataplane.ovs.fields import Field


class Term(NamedTuple):
    """field & mask == value & mask."""

    field: Field
    value: int
    mask: int | None = None
    """Unset: all bits."""


Match = tuple[Term, ...]
"""A conjunction of terms: at most one per field, sorted by field name. Built by `match`."""


def match(*terms: Term | tuple[Field, int] | tuple[Field, int, int | None]) -> Match:
    """The canonical match: sorted, values masked, full masks omitted, terms with an empty mask dropped."""
    canonical: dict[str, Term] = {}
    for field, value, *rest in terms:
        mask = rest[0] if rest else None
        name, _, _, bits = field.spec
        if mask is None or mask == (1 << bits) - 1:
            term = Term(field, value)
        elif mask:
            term = Term(field, value & mask, mask)
        else:
            continue
        assert canonical.setdefault(name, term) == term, f"two matches of {name}: {canonical[name]} and {term}"
    return tuple([canonical[name] for name in sorted(canonical)])


class Action(Struct, frozen=True):
    """One action of a flow. A flow without actions drops."""


class Output(Action, frozen=True, tag=True):
    port: int
    """OpenFlow port number, or a reserved port (0xfffffff8 in_port, 0xfffffffe local, 0xfffffffd controller)."""


class OutputField(Action, frozen=True, tag=True):
    """Output to the port whose number is in the field (as `output:NXM_NX_REG1[]`)."""

    field: Field


class SetField(Action, frozen=True, tag=True):
    field: Field
    value: int
    mask: int | None = None


class MoveField(Action, frozen=True, tag=True):
    """Copy `bits` bits (OpenFlow 1.5 copy_field; as `move:src[a..b]->dst[c..d]`)."""

    source: Field
    target: Field
    bits: int
    source_offset: int = 0
    target_offset: int = 0


class DecTtl(Action, frozen=True, tag=True):
    pass


class PushVlan(Action, frozen=True, tag=True):
    """Push an outermost VLAN tag (0x8100); `SetField` sets its content."""


class PopVlan(Action, frozen=True, tag=True):
    """Pop the outermost VLAN tag; the flow's match must ensure that there is one."""


class Conjunction(Action, frozen=True, tag=True):
    """The match satisfies clause `clause` (1-based, as ovs-ofctl writes it) of `clauses` of conjunction `id`."""

    id: int
    clause: int
    clauses: int


class Nat(Struct, frozen=True, omit_defaults=True):
    """Apply the translation that the tracker has for the connection, or set one up for a new connection."""

    end: Literal["", "src", "dst"] = ""
    """Which end of a new connection is translated; empty: none."""

    version: int = 4
    address: int = 0
    port: int | None = None
    """Unset: unchanged."""


class Ct(Action, frozen=True, tag=True):
    """Send through the connection tracker."""

    zone: int
    commit: bool = False
    table: int | None = None
    """Recirculate to this table, with ct_state set."""

    exec: tuple[SetField | MoveField, ...] = ()
    nat: Nat | None = None


class Resubmit(Action, frozen=True, tag=True):
    """resubmit(,table): returns, unlike Goto."""

    table: int


class Goto(Action, frozen=True, tag=True):
    """goto_table, the last of a flow's actions (an instruction in OpenFlow)."""

    table: int


class Group(Action, frozen=True, tag=True):
    """Process the packet by one of the group's buckets."""

    id: int


class Meter(Action, frozen=True, tag=True):
    """Drop packets above the meter's rate; the others go on."""

    id: int


class Learn(Action, frozen=True, tag=True):
    """Add a flow that sets fields of similar packets to this packet's values; it expires when idle.

    It is removed together with the flow that learnt it (delete_learned).
    """

    table: int
    priority: int
    idle_timeout_s: int
    cookie: int
    exact: tuple[Term, ...]
    """What it matches regardless of this packet."""

    same: tuple[Field, ...]
    """Fields that it matches with this packet's values."""

    gives: tuple[Field, ...]
    """Fields that it sets to this packet's values."""


class Controller(Action, frozen=True, tag=True):
    """Send to the controller (NXAST_CONTROLLER2), with opaque userdata; optionally paused until resumed."""

    userdata: bytes = b""
    pause: bool = False
    meter_id: int | None = None
    max_len: int = 0xFFFF
    controller_id: int = 0
    """Id of the controller connections that get the packet; 0: those that have set no id."""


AnyAction = (
    Output
    | OutputField
    | SetField
    | MoveField
    | DecTtl
    | PushVlan
    | PopVlan
    | Conjunction
    | Ct
    | Resubmit
    | Goto
    | Group
    | Meter
    | Learn
    | Controller
)

Actions = tuple[AnyAction, ...]


class FlowKey(NamedTuple):
    """What identifies a flow within a switch."""

    table: int
    priority: int
    """0..65535; the highest wins."""

    match: Match


class FlowBody(NamedTuple):
    actions: Actions
    cookie: int
    """64 bits; see `cookies`."""


Flows = dict[FlowKey, FlowBody]
"""The flows of a switch, or some of them."""

Buckets = tuple[Actions, ...]
"""The buckets of a select group: one is chosen for each connection, all with equal weight."""

Groups = dict[int, Buckets]
"""Groups by number."""
