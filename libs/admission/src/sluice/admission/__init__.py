"""Defaulting and validation of every kind of object."""
