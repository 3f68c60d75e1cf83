"""The demonstration: the order service with customers in it, or with a file of real orders."""
