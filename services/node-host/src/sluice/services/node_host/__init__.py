"""Enforces policies on Nodes on one node: turns programs into an nftables table."""
