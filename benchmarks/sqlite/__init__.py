"""The workloads on SQLite."""
