"""People who order."""
