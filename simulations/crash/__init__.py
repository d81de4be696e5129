"""Every state in which a power cut can leave a node's disk in the middle of updates, and what becomes of the node from there."""
