"""The operator's I/O: the API server, the brokers, the clock. What to do is decided in ``core``."""
