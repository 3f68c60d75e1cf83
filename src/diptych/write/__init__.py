"""Commands to events: aggregates, repositories, the command bus."""
