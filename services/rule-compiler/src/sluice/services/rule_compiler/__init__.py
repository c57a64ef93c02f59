"""Folds objects into programs, one for each backend, group and unit."""
