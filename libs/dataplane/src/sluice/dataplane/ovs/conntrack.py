"""What the connection tracker remembers of a connection: our zones, and the bits of its mark and its label."""

CT_ZONE = 0x51CE
"""Ours. One zone a node: addresses of Pods are unique, and so both ends see one connection as one."""

MASK_ZONE = 0x51CF
"""For the second translation of a connection: that of its source."""

REDIRECT_ZONE = 0x51D0
"""Of connections that were redirected, as whoever they are redirected to sees them: only these come back."""

MARK_REDIRECTED = 0x1
"""Bit of ct_mark in that zone."""

MARK_LET_IN = 0x1
"""Bit of ct_mark: policy let the connection in. One that is known for its translation alone has it not."""

MARK_SERVED = 0x2
"""Bit of ct_mark: its destination is translated."""

MARK_INSPECTED = 1 << 2
"""Bit of ct_mark: it goes by the inspection engine, with the VLANs that follow."""

MARK_DEAD = 1 << 3
"""Bit of ct_mark: the engine, or an end, reset it."""

MARK_VLANS = 4
"""First bit of ct_mark's VLANs, 12 bits each: that of the rule that let it out, then of the one that let it in."""

VLAN_BITS = 12
VLANS_MASK = (1 << 2 * VLAN_BITS) - 1

MARK_INSPECTION = MARK_INSPECTED | MARK_DEAD | VLANS_MASK << MARK_VLANS
"""Bits of ct_mark that are about the inspection engine."""

LABEL_INGRESS = 0
LABEL_EGRESS = 32
"""First bit of the rule ids in ct_label, 32 bits each."""

LABEL_NODE_PORT = 96
"""First bit of the id of NODE_PORT_RULE in ct_label."""

LABEL_SERVICE_PORT = 64
"""First bit of SERVICE_PORT in ct_label: the first packet may come again, when its destination is translated."""

LABEL_TAG = 83
"""First bit of a connection's tag in ct_label: between the number of SERVICE_PORT and BY_NODE_PORT."""

SERVICE_PORT_BITS = LABEL_TAG - LABEL_SERVICE_PORT
"""Of the number. No node has half a million ports of Services."""
