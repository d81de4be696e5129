"""The configuration of one node, and the swarm keys it names."""
