"""Image bytes: the transfer port, libtorrent behind it, and a model for virtual time."""
