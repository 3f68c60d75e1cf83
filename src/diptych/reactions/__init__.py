"""Events to the outside world."""
