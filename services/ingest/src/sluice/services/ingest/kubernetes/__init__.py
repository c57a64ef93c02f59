"""The Kubernetes API as a source: `reading` decodes objects, `objects` folds them, `source` talks to the API server."""
