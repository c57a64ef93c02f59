"""Enforces policies on Nodes on one of them: programs in, a table of nftables out."""
