"""Parcels: a release compressed against an older one, or against nothing. The format and its pure applying core (design D4b)."""
