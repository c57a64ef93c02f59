"""node-l7: runs the inspection engine of one node, and says which rule sets are in force.

It follows the node's programs for the backend `l7`, gives each rule set a VLAN, has the engine load it, shows by a
probe packet that it did, and only then names it in the hand-over file, by which node-ovs sends packets there. Whatever
goes wrong, the file says less, and node-ovs drops what it does not say.
"""
