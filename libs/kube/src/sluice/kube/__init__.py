"""Raw Kubernetes JSON and YAML to objects of sluice.contracts, or a named error with the path."""
