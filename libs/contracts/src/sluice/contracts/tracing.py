"""The question of `sluice trace` to a node, and its answer: the path of a packet through the switch.

The answer is what the switch itself reports for the flows it holds at that moment, in terms of policy. No packet is
sent and nothing changes.
"""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address, NodeName, Revision
from sluice.contracts.objects import Protocol
from sluice.contracts.programs import Action, Direction, Origin


class FromPod(Struct, frozen=True, kw_only=True, tag="pod"):
    """It comes from a Pod of the node that is asked."""

    pod: str
    """namespace/name"""


class FromNode(Struct, frozen=True, kw_only=True, tag="node"):
    """It comes from another node, through the tunnel."""

    node: NodeName


class FromWorld(Struct, frozen=True, kw_only=True, tag="world"):
    """It comes from beyond the cluster, or from the node itself: by the gateway."""


Begin = FromPod | FromNode | FromWorld
State = Literal["new", "established", "reply"]
"""What the connection tracker says: the first packet of a connection; a later one; one that answers."""


class Traced(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A packet's addresses and ports."""

    source: Address
    destination: Address
    protocol: Protocol | Literal["ICMP", "IGMP"]
    port: int = 0
    source_port: int = 0
    icmp_type: int | None = None
    """Unset for ICMP: an echo request, of the family."""

    icmp_code: int = 0


class TraceQuestion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of this packet on the node, asked on `_sluice.trace.<node>`."""

    begin: Begin
    packet: Traced
    state: State = "new"
    choice: int = 1
    """Of a Service's endpoints: equal numbers choose equally, 1 to 2^32-1."""


class DecidingRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule of a policy, as the node has it in force."""

    policy: Origin
    object_revision: Revision
    """Of OBJECTS: the last change that this form of the policy reflects."""

    direction: Direction
    index: int | None = None
    """In the policy's list of the direction; unset: no rule, but that the policy isolates its Pods."""

    name: str = ""
    action: Action = Action.DROP


class Hop(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A flow that the packet met."""

    table: int
    name: str
    """Of the table, as docs/backends/ovs.md has it."""

    does: str
    """What the table is for."""

    kind: str
    """Of the flow: base, port, rule, isolation, route, uplink, service…; none: no flow named the packet."""

    match: str
    priority: int
    actions: tuple[str, ...]
    cookie: str = ""
    rule: DecidingRule | None = None


Outcome = Literal["Allowed", "Dropped", "Rejected"]


class Trace(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="trace"):
    """The answer: the flows that the packet met on this node, and what became of it."""

    node: NodeName
    applied: Revision
    """OBJECTS up to here were in the switch."""

    hops: tuple[Hop, ...]
    outcome: Outcome
    packet: Traced
    """As it left, or as it was when it was dropped."""

    pods: tuple[str, ...] = ()
    """Who got it, namespace/name."""

    nodes: tuple[NodeName, ...] = ()
    """Where it went on to through the tunnel."""

    world: bool = False
    """It went to the node's own network stack: for the node itself, or for the world."""


class TraceRefused(Struct, frozen=True, kw_only=True, tag="refused"):
    """Why there is no answer."""

    reason: str
