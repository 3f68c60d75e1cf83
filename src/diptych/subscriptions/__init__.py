"""The one loop that consumers of the log run on: reading, progress, lag, failures."""
