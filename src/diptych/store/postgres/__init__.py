"""Both stores on a PostgreSQL server."""
