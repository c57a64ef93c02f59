"""DNS as a datapath needs it: what an answer tells of names, out of packets of whoever may be hostile."""
