"""Records, the store that merges them, and the gossip that spreads them."""
