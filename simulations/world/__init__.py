"""The real cores on a virtual clock, network and disk."""
