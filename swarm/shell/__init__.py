"""The sockets of the swarm on trio: waits, calls the core, carries out its effects."""
