"""Selectors to members, incrementally."""
