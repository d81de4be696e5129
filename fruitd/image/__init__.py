"""Images a machine starts from: a root file system with fruitd in it, and the disk with two slots of it."""
