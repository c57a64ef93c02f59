"""Compiles objects into programs, one per backend, group and unit."""
