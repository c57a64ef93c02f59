"""CustomResourceDefinitions for the API server, made from the same limits as the admission rules."""
