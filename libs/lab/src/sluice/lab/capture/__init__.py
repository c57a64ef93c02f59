"""Receivers of mirrored and redirected traffic: captured frames, decoded and counted."""
