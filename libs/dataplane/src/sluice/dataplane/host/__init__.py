"""The host backend: policies on Nodes, as one table of nftables on each."""
