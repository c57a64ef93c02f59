"""Inline devices: processes between two ports of a switch, or behind a tunnel, that return frames."""
