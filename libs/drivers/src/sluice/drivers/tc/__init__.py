"""Linux traffic control over rtnetlink: our own encoding of what no library knows, in batches.

pyroute2 has neither the flower classifier nor act_ct, no chains and no goto (svinota/pyroute2, issue 1284), and encodes
one message a call; its devlink has neither controllers nor subfunctions; and to import it takes 15 s in a guest without
acceleration. So everything here, links and devlink too, is bytes of our own on one small netlink socket (`netlink`).
Source: rtnetlink(7), netlink(7), Linux 6.1 include/uapi/linux/{netlink,rtnetlink,pkt_cls}.h.
"""
