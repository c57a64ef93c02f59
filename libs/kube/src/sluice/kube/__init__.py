"""Turns raw Kubernetes JSON and YAML into objects of sluice.contracts, or into a named error with the path."""
