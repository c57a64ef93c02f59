"""Linux traffic control over rtnetlink: our own encoding of what no library knows, in batches.

pyroute2 has neither the flower classifier nor act_ct, no chains and no goto (svinota/pyroute2, issue 1284), and encodes
one message a call; so filters are bytes of our own on a socket of our own. Links and devlink are pyroute2's.
Source: rtnetlink(7), netlink(7), Linux 6.1 include/uapi/linux/{netlink,rtnetlink,pkt_cls}.h.
"""
