"""The daemon at its board: how the machine is fed, the node's heart, and the bus of a stack."""
