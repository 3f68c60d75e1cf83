"""A second service, which hears of orders."""
