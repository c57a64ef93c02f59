"""node-l7: runs the inspection engine of one node, and reports which rule sets are in force.

It follows the node's programs for the backend `l7`, assigns each rule set a VLAN, has the engine load it, verifies that
by a probe packet, and only then lists it in the hand-over file, which tells node-ovs where to send packets. Whatever
goes wrong, the file lists less, and node-ovs drops the traffic of rule sets that it does not list.
"""
