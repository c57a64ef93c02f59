"""Enforces policies of secondary networks on one node: turns programs into TC filters."""
