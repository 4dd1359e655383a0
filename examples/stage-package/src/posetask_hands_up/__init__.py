"""A stage for PoseTask from a package of its own: who holds a hand up."""
