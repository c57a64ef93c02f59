"""Folds objects into groups and stores a page for each node that hosts a member."""
