"""Receivers of mirrored and redirected traffic: frames as they stand on the wire, decoded and counted."""
