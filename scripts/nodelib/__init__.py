"""A real single-node Kubernetes without a container engine, in namespaces of its own. Linux, root."""
