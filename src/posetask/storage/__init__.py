"""Floor 1: where results go. Files are published once, complete."""
