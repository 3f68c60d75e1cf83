"""The loop that projections run on: reading the log, progress, failures, lag."""
