"""What a packet carries from table to table: registers, and the bits of the one that holds flags."""

from sluice.dataplane.ovs.fields import Field

FLAGS = Field.REG0
ACCEPTED = 0x1
"""Bit of FLAGS: policy has nothing more to say, for the connection was let in before."""

FROM_HOST = 0x2
"""Bit of FLAGS: the node itself sent it, which may always reach its own Pods."""

FROM_TUNNEL = 0x4
"""Bit of FLAGS: another node sent it, so it is for a Pod here, or for this node, and goes nowhere else."""

FROM_WORLD = 0x8
"""Bit of FLAGS: it came by the gateway, and not from the node itself."""

SERVED = 0x10
"""Bit of FLAGS: it is of a connection to a Service, whose endpoint stands in place of the Service by now."""

ANSWER = 0x20
"""Bit of FLAGS: it goes the way back of a connection that was let in before."""

HAIRPIN = 0x40
"""Bit of FLAGS: it goes back to the Pod that sent it, which is an endpoint of the Service that it asked."""

TO_NODE = 0x80
"""Bit of FLAGS: it was sent to an address of a node, where NodePorts are."""

INSPECTED = 0x400
"""Bit of FLAGS: a rule that looks at requests let it out or in, so that it goes by the inspection engine."""

JUDGED = 0x800
"""Bit of FLAGS: it is an answer that came back from the inspection engine."""

UNTRANSLATED = 0x1000
"""Bit of FLAGS: it is an answer of a Service and has its endpoint's address still, as TrafficControls show it."""

RETURNED = 0x2000
"""Bit of FLAGS: it comes back from where a TrafficControl redirected it."""

OUT_PORT = Field.REG1
"""OpenFlow port of the destination, 0 while it is not known."""

SCRATCH = Field.REG2
"""For swapping two fields, and for the rule that has a packet logged; means nothing from one table to the next."""

ENDPOINT_NUMBER = Field.REG3
"""Of the endpoint that was chosen for a new connection to a Service."""

L7_VLANS = Field.REG4
"""VLANs of the inspection engine by which the packet still has to go, 12 bits each: the next, and the one after; 0:
none. Until the connection is committed: that of the rule that let it out, and that of the one that let it in."""

CONNECTION_TAG = Field.REG13
"""By which the inspection engine tells the connection from others of the same ports; TAG_BITS."""

TAG_BITS = 12

SERVICE_PORT = Field.REG7
"""Number of the port of a Service that a new connection was sent to, with BY_NODE_PORT; 0: none."""

BY_NODE_PORT = 1 << 31
"""Bit of SERVICE_PORT: by a NodePort, and not by a ClusterIP."""

COPIES = Field.REG8
"""Numbers of the sets of TrafficControls that have a packet copied: bits 0 to 15 for its sender, 16 to 31 for its
receiver; 0: none."""

EGRESS_RULE = Field.REG5
INGRESS_RULE = Field.REG6
"""Id of the rule that let the packet out, and in, or the connection that it is of; 0 where no rule had to."""

NODE_PORT_RULE = Field.REG12
"""Id of the rule that let it use a NodePort."""

COUNTED = Field.REG9
"""Id of the rule that counts the packet next: each that let it through, or the one that denied it."""
