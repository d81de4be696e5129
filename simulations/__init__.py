"""The same node in simulated swarms."""
