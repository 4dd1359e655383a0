"""Tasks of a cluster: videos in an object store, each task a PoseTask, and no second list of them."""
