"""Real daemons in network namespaces: sites behind thin lines, and what one image costs them. Needs root (docs/testbed.md)."""
