"""A synthetic world of people with exact truth: for the demo, the tests and the bundled models."""
