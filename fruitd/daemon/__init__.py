"""The daemon: carries out on trio what the node core asks for, and shows it to the operator.

moving/    image bytes: the long work of an update, relaying, publishing, dialling, and the accounts of it
power/     supply, heartbeat, and the bus of a stack
shown/     what `fruit status`, `fruit doctor` and their like are answered

What joins them, and what a node has from its start, stands beside them: `daemon.py` and `assembly.py` first.
"""
