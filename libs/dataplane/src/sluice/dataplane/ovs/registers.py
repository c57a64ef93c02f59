"""The registers that a packet carries from table to table, and the bits of the one that holds flags."""

from sluice.dataplane.ovs.fields import Field

FLAGS = Field.REG0
ACCEPTED = 0x1
"""Bit of FLAGS: the connection was allowed before; policy is not evaluated again."""

FROM_HOST = 0x2
"""Bit of FLAGS: sent by the node itself, which may always reach its own Pods."""

FROM_TUNNEL = 0x4
"""Bit of FLAGS: sent by another node, so it goes to a Pod here or to this node, and nowhere else."""

FROM_WORLD = 0x8
"""Bit of FLAGS: came in by the gateway, but not from the node itself."""

SERVED = 0x10
"""Bit of FLAGS: belongs to a connection to a Service; the packet has the endpoint's address by now."""

ANSWER = 0x20
"""Bit of FLAGS: travels in the reply direction of a connection that was allowed before."""

HAIRPIN = 0x40
"""Bit of FLAGS: goes back to the Pod that sent it, which is itself an endpoint of the Service that it asked."""

TO_NODE = 0x80
"""Bit of FLAGS: was sent to an address of a node, so it may be for a NodePort."""

INSPECTED = 0x400
"""Bit of FLAGS: allowed, out or in, by a layer 7 rule, so it goes through the inspection engine."""

JUDGED = 0x800
"""Bit of FLAGS: a reply that has returned from the inspection engine."""

UNTRANSLATED = 0x1000
"""Bit of FLAGS: a reply of a Service that still has its endpoint's address, as TrafficControls show it."""

RETURNED = 0x2000
"""Bit of FLAGS: has returned from where a TrafficControl redirected it."""

OUT_PORT = Field.REG1
"""OpenFlow port of the destination; 0 while unknown."""

SCRATCH = Field.REG2
"""For swapping two fields, and for the id of the rule that has a packet logged; not kept from table to table."""

ENDPOINT_NUMBER = Field.REG3
"""Number of the endpoint chosen for a new connection to a Service."""

L7_VLANS = Field.REG4
"""VLANs on which the packet still has to go through the inspection engine, 12 bits each: the next, and the one after;
0: none. Until the connection is committed: those of the rules that allowed it out and in."""

CONNECTION_TAG = Field.REG13
"""Tag by which the inspection engine tells the connection from others with the same ports; TAG_BITS wide."""

TAG_BITS = 12

SERVICE_PORT = Field.REG7
"""Number of the Service port that a new connection was sent to, with BY_NODE_PORT; 0: none."""

BY_NODE_PORT = 1 << 31
"""Bit of SERVICE_PORT: through a NodePort, not a ClusterIP."""

COPIES = Field.REG8
"""Numbers of the sets of TrafficControls that copy the packet: bits 0 to 15 for its sender, 16 to 31 for its receiver;
0: none."""

EGRESS_RULE = Field.REG5
INGRESS_RULE = Field.REG6
"""Ids of the rules that allowed the packet, or its connection, out and in; 0: none was needed."""

NODE_PORT_RULE = Field.REG12
"""Id of the rule that allowed the use of a NodePort."""

COUNTED = Field.REG9
"""Id of the rule that counts the packet next: in turn each that allowed it, or the one that denied it."""
