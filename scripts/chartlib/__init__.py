"""What scripts/generate-chart makes: the schema of the values, and the catalogue of the built-in stages."""
