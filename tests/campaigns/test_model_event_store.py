"""The model test: every store does what a dict and a list do, over random histories of appends, reads and restarts."""

from typing import ClassVar

import pytest
from hypothesis import settings

from tests.campaigns.model import EventStoreMachine
from tests.campaigns.stores import Opened, memory_store, opened_file, opened_schema
from tests.postgres import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class _Memory(EventStoreMachine):
    def open(self) -> Opened:
        return Opened(memory_store())


class _Sqlite(EventStoreMachine):
    def open(self) -> Opened:
        return opened_file()


class _Postgres(EventStoreMachine):
    server: ClassVar[Server]

    def open(self) -> Opened:
        return opened_schema(self.server)


@pytest.fixture
def on_server(postgres: Server) -> None:
    """Say where the schemas are made."""
    _Postgres.server = postgres


TestMemoryIsTheModel = _Memory.TestCase
TestMemoryIsTheModel.settings = settings(max_examples=40, stateful_step_count=30)
TestSqliteIsTheModel = _Sqlite.TestCase
TestSqliteIsTheModel.settings = settings(max_examples=30, stateful_step_count=30)
TestPostgresIsTheModel = pytest.mark.usefixtures("on_server")(pytest.mark.postgres(_Postgres.TestCase))
TestPostgresIsTheModel.settings = settings(max_examples=10, stateful_step_count=30)
