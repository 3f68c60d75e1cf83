"""Events to read models."""
