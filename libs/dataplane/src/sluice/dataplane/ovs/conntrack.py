"""What the connection tracker stores about a connection: our zones, and the bits of ct_mark and ct_label."""

CT_ZONE = 0x51CE
"""Our zone. One per node: Pod addresses are unique, so a connection is one entry for both of its ends."""

MASK_ZONE = 0x51CF
"""For the second translation of a connection, that of its source."""

REDIRECT_ZONE = 0x51D0
"""For redirected connections, as the device that they are redirected to sees them: only their packets may return."""

MARK_REDIRECTED = 0x1
"""Bit of ct_mark in REDIRECT_ZONE: the connection was redirected."""

MARK_LET_IN = 0x1
"""Bit of ct_mark: policy allowed the connection. Unset if the tracker only knows its translation."""

MARK_SERVED = 0x2
"""Bit of ct_mark: the connection's destination is translated to an endpoint of a Service."""

MARK_INSPECTED = 1 << 2
"""Bit of ct_mark: the connection goes through the inspection engine, on the VLANs at MARK_VLANS."""

MARK_DEAD = 1 << 3
"""Bit of ct_mark: the connection was reset, by the engine or by an end."""

MARK_VLANS = 4
"""First bit of the VLANs in ct_mark, 12 bits each: that of the egress rule, then that of the ingress rule."""

VLAN_BITS = 12
VLANS_MASK = (1 << 2 * VLAN_BITS) - 1

MARK_INSPECTION = MARK_INSPECTED | MARK_DEAD | VLANS_MASK << MARK_VLANS
"""Bits of ct_mark that are about the inspection engine."""

LABEL_INGRESS = 0
LABEL_EGRESS = 32
"""First bits of the rule ids in ct_label, 32 bits each."""

LABEL_NODE_PORT = 96
"""First bit of NODE_PORT_RULE in ct_label."""

LABEL_SERVICE_PORT = 64
"""First bit of SERVICE_PORT in ct_label: for a repeated first packet, whose destination is already translated."""

LABEL_TAG = 83
"""First bit of the connection's tag in ct_label, between the number in SERVICE_PORT and BY_NODE_PORT."""

SERVICE_PORT_BITS = LABEL_TAG - LABEL_SERVICE_PORT
"""Width of the number in ct_label. No node has half a million Service ports."""
