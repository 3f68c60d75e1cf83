"""The PostgreSQL server of the tests, or the reason why there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from diptych.testing.postgres import USER, NoPostgresError, PostgresServer, binaries, end_with_parent, free_port

Server = PostgresServer
__all__ = ["USER", "NoPostgresError", "Server", "binaries", "end_with_parent", "free_port", "had_or_skipped"]


@contextmanager
def had_or_skipped() -> Iterator[None]:
    """Skip the test, with the reason, when what the block wants to start cannot be had; in CI that is a failure."""
    try:
        yield
    except NoPostgresError as error:
        pytest.skip(f"It cannot be had: {error}")
