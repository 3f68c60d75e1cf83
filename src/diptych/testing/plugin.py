"""The pytest plugin: installed with diptych, it switches every app of a test run to development mode.

Rule: nothing is imported here before a test asks for it; every test run of the environment pays for this file.
"""

import os


def pytest_configure() -> None:
    """Set DIPTYCH_MODE=development, unless the environment says otherwise: state changed outside `@on` is found."""
    os.environ.setdefault("DIPTYCH_MODE", "development")
