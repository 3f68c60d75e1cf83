"""Where a test keeps its events and rows.

A fixture that is parametrised with `memory`, `sqlite` or `postgres` asks here for its URL.
"""

from pathlib import Path

import pytest


def url_for(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of an empty store of the kind that is the fixture's parameter."""
    match request.param:
        case "memory":
            return "memory:"
        case "sqlite":
            return f"sqlite:///{folder}/shop.db"
        case "postgres":
            url: str = request.getfixturevalue("postgres_url")
            return url
    raise ValueError(f"There is no store {request.param}.")
