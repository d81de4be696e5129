"""Slots: looked at before they are written, filled with what the node already has, and read back before they may boot."""
