"""Both stores on SQLite files."""
