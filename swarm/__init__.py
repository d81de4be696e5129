"""Who is out there, what is new, how bytes move, whom to trust."""
