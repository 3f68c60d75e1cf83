"""The view store of `memory:` keeps the same contracts."""

from collections.abc import Callable

import pytest

from diptych.store.protocols import StoreSettings, ViewStore
from diptych.store.sqlite.views import temporary_view_store
from diptych.testing.contracts.view_alerts import ViewAlertsContract
from diptych.testing.contracts.view_reads import ViewReadsContract
from diptych.testing.contracts.view_scripts import ViewScriptsContract


class TestTemporaryViewStore(ViewReadsContract, ViewScriptsContract, ViewAlertsContract):
    """Its rows live as long as the store object does."""

    @pytest.fixture
    def storage(self) -> Callable[[], ViewStore]:
        """One store, opened again and again."""
        store = temporary_view_store(StoreSettings())
        return lambda: store
