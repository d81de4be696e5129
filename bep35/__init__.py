"""Signed torrents (BEP-35) over BitTorrent v2 metainfo (BEP-52): a library of its own."""
