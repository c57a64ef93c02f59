"""Linux traffic control over rtnetlink, with our own batched encoding of what no library supports.

pyroute2 supports neither the flower classifier nor act_ct, chains or goto (svinota/pyroute2, issue 1284), and sends one
message per call; its devlink has neither controllers nor subfunctions; and importing it takes 15 s in a guest without
acceleration. So everything here, including links and devlink, is our own encoding on one small netlink socket
(`netlink`). Source: rtnetlink(7), netlink(7), Linux 6.1 include/uapi/linux/{netlink,rtnetlink,pkt_cls}.h.
"""
