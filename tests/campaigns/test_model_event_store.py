"""The model test: every store does what a dict and a list do, over random histories of appends, reads and restarts."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.campaigns.model import EventStoreMachine
from tests.campaigns.stores import Opened, memory_store, sqlite_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class _Memory(EventStoreMachine):
    def open(self) -> Opened:
        return Opened(memory_store())


class _Sqlite(EventStoreMachine):
    def open(self) -> Opened:
        folder = Path(tempfile.mkdtemp(prefix="diptych-model-"))
        return Opened(sqlite_store(folder / "shop.db"), folder)


TestMemoryIsTheModel = _Memory.TestCase
TestMemoryIsTheModel.settings = settings(max_examples=40, stateful_step_count=30)
TestSqliteIsTheModel = _Sqlite.TestCase
TestSqliteIsTheModel.settings = settings(max_examples=30, stateful_step_count=30)
