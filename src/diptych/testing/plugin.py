"""The pytest plugin: installed with diptych, it switches every app of a test run to development mode.

Rule: nothing of Diptych is imported here before a test asks for it, so that start-up stays fast and coverage whole.
"""

import os


def pytest_configure() -> None:
    """Set DIPTYCH_MODE=development, unless the environment says otherwise: state changed outside `@on` is found."""
    os.environ.setdefault("DIPTYCH_MODE", "development")
