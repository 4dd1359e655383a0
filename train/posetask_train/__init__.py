"""Trains PoseTask's two small bundled models on the synthetic world. Not imported by ``posetask``."""
