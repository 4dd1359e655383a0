"""What tests, benches and chaos plans of the operator share: proxies that count and break, and a player of pods."""
