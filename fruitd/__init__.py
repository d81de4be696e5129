"""The node: slots, boot backends, updater, health, API, CLI, daemon."""
