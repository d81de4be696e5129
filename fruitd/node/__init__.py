"""The node core: joins what the swarm says with the life of the update. Pure: the daemon and the simulated world both run it."""
