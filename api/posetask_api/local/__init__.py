"""Tasks of this machine: a folder, an SQLite file in it, and one process for each task at work."""
