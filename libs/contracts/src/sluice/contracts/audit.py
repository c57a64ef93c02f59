"""AUDIT: parsed lines of the nodes' logs, many lines per message, and how many were lost."""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address, NodeName, Revision, Unit

Log = Literal["np", "l7"]
"""Which log: np.log of the switch's programmer, or eve.json of the inspection engine."""

Decision = Literal["Allow", "Drop", "Reject", "Pass", "Redirect"]


class Attribution(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A policy that made the decision, as it was at that time."""

    unit: Unit
    index: int | None = None
    """Index of the rule in the policy's list for its direction; unset: the policy's isolation decided, not a rule."""

    revision: Revision
    """The OBJECTS revision of the last change that it reflects."""


class FlowDecision(Struct, frozen=True, kw_only=True, tag="np", omit_defaults=True):
    """The switch decided on the first packet of a connection; for Drop and Reject, on equal packets within 1 s."""

    at_us: int
    """Microseconds since 1970, UTC."""

    table: str
    """Antrea's name: AntreaPolicyIngressRule, IngressRule, IngressDefaultRule, and the same three for egress."""

    policy: str
    """As logged, e.g. `AntreaNetworkPolicy:ns/name`; just `K8sNetworkPolicy` if isolation dropped the packet."""

    unit: Unit | None = None
    """The policy, if the log names one."""

    rule: str = ""
    direction: Literal["Ingress", "Egress"]
    action: Decision
    priority: int | None = None
    """OpenFlow priority of the flow."""

    applied_to: str = ""
    """The Pod (`namespace/name`) or the node (name) to which the decision applied."""

    source: Address
    source_port: int | None = None
    destination: Address
    destination_port: int | None = None
    protocol: str
    length: int
    """Length of the IP packet in bytes."""

    label: str = ""
    packets: int = 1
    """How many equal packets this event stands for."""

    within_us: int = 0
    """Microseconds from the first of these packets to the last."""

    by: tuple[Attribution, ...] = ()
    """The rule that decided, or all policies that isolated the Pod; sorted. Empty if it can no longer be determined."""


class Inspection(Struct, frozen=True, kw_only=True, tag="l7", omit_defaults=True):
    """The inspection engine saw a request or a TLS handshake, denied one, or captured a packet."""

    at_us: int
    event: str
    """The engine's event_type: http, tls, alert, packet, drop."""

    source: Address
    source_port: int | None = None
    source_pod: str = ""
    """The Pod of this node that held the address when the line was read, `namespace/name`; empty if none did."""

    destination: Address
    destination_port: int | None = None
    destination_pod: str = ""
    """Like `source_pod`."""

    protocol: str
    flow: int = 0
    """The engine's id of the connection, shared by all its events."""

    vlan: int | None = None
    policy: str = ""
    """For a denial: the policy as named in the alert."""

    unit: Unit | None = None
    allowed: bool | None = None
    """False if denied; unset if the event carries no decision."""

    host: str = ""
    method: str = ""
    url: str = ""
    status: int | None = None
    sni: str = ""
    packet: str = ""
    """Base64, for packet events. It may contain users' data."""


class Loss(Struct, frozen=True, kw_only=True, tag="loss", omit_defaults=True):
    """Part of the log is missing, so the absence of events proves nothing."""

    at_us: int
    lines: int
    """Number of lost lines; 0 if only their size is known."""

    size_bytes: int = 0
    reason: str
    example: str = ""
    """The beginning of the first lost line, if available."""


AuditEvent = FlowDecision | Inspection | Loss


class AuditBatch(Struct, frozen=True, kw_only=True):
    """Consecutive lines of one log of one node (`audit.<node>.<log>`).

    A batch that is sent again keeps its id, so a reader that stores batches by id has each line exactly once.
    """

    node: NodeName
    log: Log
    id: str
    """Derived from the file and the position in it."""

    events: tuple[AuditEvent, ...]
