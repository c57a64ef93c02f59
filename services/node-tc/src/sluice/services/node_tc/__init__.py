"""Enforces policies of secondary networks on one node: programs in, filters of TC out."""
