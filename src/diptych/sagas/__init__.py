"""Events to commands, with memory and timers."""
