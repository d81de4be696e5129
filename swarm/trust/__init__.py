"""Keys, roles, manifests, the trusted set, and the lower bound of the clock."""
