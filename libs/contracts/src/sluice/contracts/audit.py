"""AUDIT: parsed lines of the nodes' logs, many lines per message, and how many were lost."""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address, NodeName, Revision, Unit

Log = Literal["np", "l7"]
"""Which log: np.log of the switch's programmer, or eve.json of the inspection engine."""

Decision = Literal["Allow", "Drop", "Reject", "Pass", "Redirect"]


class Attribution(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A policy that decided, as it was then."""

    unit: Unit
    index: int | None = None
    """Of the rule, in the policy's list of its direction; unset: no rule, but that the policy isolates."""

    revision: Revision
    """In OBJECTS: the last change that it reflects."""


class FlowDecision(Struct, frozen=True, kw_only=True, tag="np", omit_defaults=True):
    """The switch decided about the first packet of a connection; of Drop and Reject, about packets within a second."""

    at_us: int
    """Microseconds since 1970, UTC."""

    table: str
    """As people know it: AntreaPolicyIngressRule, IngressRule, IngressDefaultRule, and the same three for egress."""

    policy: str
    """As logged, `AntreaNetworkPolicy:ns/name`; `K8sNetworkPolicy` alone where isolation dropped."""

    unit: Unit | None = None
    """The policy, where the log names one."""

    rule: str = ""
    direction: Literal["Ingress", "Egress"]
    action: Decision
    priority: int | None = None
    """OpenFlow priority of the flow."""

    applied_to: str = ""
    """The Pod it was decided for, `namespace/name`; or the node, by its name."""

    source: Address
    source_port: int | None = None
    destination: Address
    destination_port: int | None = None
    protocol: str
    length: int
    """Bytes of the IP packet."""

    label: str = ""
    packets: int = 1
    """How many equal ones this stands for."""

    within_us: int = 0
    """Microseconds from the first of them to the last."""

    by: tuple[Attribution, ...] = ()
    """The rule that decided, or all policies that isolated the Pod, sorted. None: nobody can say any more."""


class Inspection(Struct, frozen=True, kw_only=True, tag="l7", omit_defaults=True):
    """The inspection engine saw a request or a handshake, denied one, or kept a packet."""

    at_us: int
    event: str
    """The engine's event_type: http, tls, alert, packet, drop."""

    source: Address
    source_port: int | None = None
    source_pod: str = ""
    """The Pod of this node that had the address when the line was read, `namespace/name`; empty: none of them."""

    destination: Address
    destination_port: int | None = None
    destination_pod: str = ""
    """As `source_pod`."""

    protocol: str
    flow: int = 0
    """The engine's id of the connection: events of one have the same."""

    vlan: int | None = None
    policy: str = ""
    """Of a denial, as the alert names it."""

    unit: Unit | None = None
    allowed: bool | None = None
    """False: denied. Unset: the event says nothing of it."""

    host: str = ""
    method: str = ""
    url: str = ""
    status: int | None = None
    sni: str = ""
    packet: str = ""
    """Base64, of a packet event: it may hold what people sent."""


class Loss(Struct, frozen=True, kw_only=True, tag="loss", omit_defaults=True):
    """Something of the log is not here. Nobody should take silence for peace."""

    at_us: int
    lines: int
    """How many; 0 where only their bytes are known."""

    size_bytes: int = 0
    reason: str
    example: str = ""
    """The beginning of the first of them, where there is one."""


AuditEvent = FlowDecision | Inspection | Loss


class AuditBatch(Struct, frozen=True, kw_only=True):
    """Consecutive lines of one log of one node (`audit.<node>.<log>`).

    A batch that is sent again has the same id: whoever stores batches by their id has each line once.
    """

    node: NodeName
    log: Log
    id: str
    """Of the file and the place in it."""

    events: tuple[AuditEvent, ...]
