"""The keeper: the only part of a node that may open a slot for writing, write the boot environment or restart the machine."""
