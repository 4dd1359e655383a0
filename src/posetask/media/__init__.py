"""Floor 1: reading and writing video, images and sound; callers import the modules."""
