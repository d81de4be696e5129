"""`fruit demo`: real daemons on loopback, three releases, one of them bad. Also the fixtures of the swarm tests."""
