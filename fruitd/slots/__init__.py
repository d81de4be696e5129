"""The two root slots: what is in them, building an image in one, reading it back."""
