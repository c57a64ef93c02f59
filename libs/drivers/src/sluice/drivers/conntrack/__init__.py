"""The connections tracked by a node's switch: list them, count them, remove them."""
