"""A Kubernetes API server and its companions on loopback, for development and tests."""
