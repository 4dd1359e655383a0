"""What tests, benches and chaos plans of the operator share: proxies that break things, a player of pods."""
