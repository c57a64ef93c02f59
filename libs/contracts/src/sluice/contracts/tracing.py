"""The question of `sluice trace` to a node, and its answer: the path of a packet through the switch.

The answer is what the switch itself reports for the flows that it holds at that moment, in terms of policy. No packet
is sent and nothing changes.
"""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address, NodeName, Revision
from sluice.contracts.objects import Protocol
from sluice.contracts.programs import Action, Direction, Origin


class FromPod(Struct, frozen=True, kw_only=True, tag="pod"):
    """The packet comes from a Pod on the node that is asked."""

    pod: str
    """namespace/name"""


class FromNode(Struct, frozen=True, kw_only=True, tag="node"):
    """The packet comes from another node, through the tunnel."""

    node: NodeName


class FromWorld(Struct, frozen=True, kw_only=True, tag="world"):
    """The packet comes through the gateway: from outside the cluster, or from the node itself."""


Begin = FromPod | FromNode | FromWorld
State = Literal["new", "established", "reply"]
"""State in conntrack: the first packet of a connection, a later one, or one in the reply direction."""


class Traced(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A packet's addresses and ports."""

    source: Address
    destination: Address
    protocol: Protocol | Literal["ICMP", "IGMP"]
    port: int = 0
    source_port: int = 0
    icmp_type: int | None = None
    """For ICMP, unset means an echo request of the address family."""

    icmp_code: int = 0


class TraceQuestion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks what happens to this packet on the node; sent to `_sluice.trace.<node>`."""

    begin: Begin
    packet: Traced
    state: State = "new"
    choice: int = 1
    """Selects among a Service's endpoints, 1 to 2^32-1: the same number selects the same endpoint."""


class DecidingRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule of a policy, in the form that is in force on the node."""

    policy: Origin
    object_revision: Revision
    """The OBJECTS revision of the last change that this form of the policy reflects."""

    direction: Direction
    index: int | None = None
    """Index in the policy's list for the direction; unset: the policy's isolation of its Pods, not a rule."""

    name: str = ""
    action: Action = Action.DROP


class Hop(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A flow that the packet hit, or a table that it missed."""

    table: int
    name: str
    """Name of the table, as in docs/backends/ovs.md."""

    does: str
    """What the table is for."""

    kind: str
    """Kind of the flow: base, port, rule, isolation, route, uplink, service…; `none` if no flow matched the packet."""

    match: str
    priority: int
    actions: tuple[str, ...]
    cookie: str = ""
    rule: DecidingRule | None = None


Outcome = Literal["Allowed", "Dropped", "Rejected"]


class Trace(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="trace"):
    """The answer: the flows that the packet hit on this node, and what happened to it."""

    node: NodeName
    applied: Revision
    """The OBJECTS revision up to which the switch was programmed."""

    hops: tuple[Hop, ...]
    outcome: Outcome
    packet: Traced
    """The packet as it left the switch, or as it was when it was dropped."""

    pods: tuple[str, ...] = ()
    """Pods that received it, namespace/name."""

    nodes: tuple[NodeName, ...] = ()
    """Nodes to which it was sent through the tunnel."""

    world: bool = False
    """It was passed to the node's network stack: for the node itself, or for outside the cluster."""


class TraceRefused(Struct, frozen=True, kw_only=True, tag="refused"):
    """The question cannot be answered."""

    reason: str
