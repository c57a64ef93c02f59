"""The admission webhook: checks whether objects make sense before Kubernetes stores them."""
