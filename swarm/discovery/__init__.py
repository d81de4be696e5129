"""Who else is out there: beacon, contacts, and what peers tell."""
