"""The Kubernetes operator's package. Its floor is set and checked; the reconcile comes with part 4."""
