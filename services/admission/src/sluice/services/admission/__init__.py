"""The webhook: says of objects on their way into Kubernetes whether they make sense."""
