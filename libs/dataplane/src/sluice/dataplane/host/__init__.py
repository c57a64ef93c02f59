"""The host backend: policies on Nodes, as one nftables table per node."""
