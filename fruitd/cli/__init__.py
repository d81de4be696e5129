"""The `fruit` command."""
