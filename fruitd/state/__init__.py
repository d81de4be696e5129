"""What a node keeps across restarts, on its data partition and never in a slot."""
