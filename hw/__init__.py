"""Power boards and lines. Empty until the PiStack driver moves in: nothing here is a stand-in."""
