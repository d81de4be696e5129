"""The life of one update, as a total state machine."""
