"""Money given back; goods do not move."""
