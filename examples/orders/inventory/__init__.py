"""Products and how many of them are there."""
