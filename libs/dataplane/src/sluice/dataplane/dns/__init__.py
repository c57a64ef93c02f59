"""DNS as a datapath needs it: what answers say about names, parsed from packets that may be hostile."""
