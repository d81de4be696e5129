"""Image bytes on their way: taken, fetched, made and served, from whom, and how many."""
