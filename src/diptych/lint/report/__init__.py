"""How findings are written, one form per file."""
