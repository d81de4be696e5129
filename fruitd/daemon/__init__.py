"""The daemon: carries out on trio what the node core asks for, and shows it to the operator."""
