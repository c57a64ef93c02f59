"""The connections that a node's switch remembers: listed, counted, forgotten."""
