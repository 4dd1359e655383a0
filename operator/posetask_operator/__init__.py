"""The Kubernetes operator's package. Its floor is set and checked; the reconcile itself is the roadmap's part 4."""
