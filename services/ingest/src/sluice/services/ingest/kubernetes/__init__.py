"""The Kubernetes API as a source: `reading` makes objects of bytes, `objects` knows what is told, `source` asks."""
