"""The REST API: uploads in, tasks and their results out, on one machine or on a cluster."""
