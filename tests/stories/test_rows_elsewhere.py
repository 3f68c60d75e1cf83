"""Rows in another database than the events, their checkpoints beside them (P2)."""

from decimal import Decimal
from pathlib import Path

import pytest

from diptych import App, ConfigurationError
from diptych.errors import OtherHistoryError
from tests.postgres import Server
from tests.stories.purses import GetPurse, Pay, Purses, purses

pytestmark = pytest.mark.anyio


async def pay_and_look(app: App) -> None:
    async with app:
        paid = await app.commands.dispatch(Pay(amount=Decimal(2)))
        row = await app.queries.dispatch(GetPurse(purse_id=paid.result), after=paid, within=5.0)
        assert row is not None
        assert row.total == 2


async def test_rows_of_a_log_on_one_server_are_on_another(postgres: Server, postgres_url: str) -> None:
    """P2, R1; and whoever deletes the rows gets them again from the log."""
    rows_at = f"{postgres_url}_rows"
    app = purses(postgres_url, views=rows_at)
    await pay_and_look(app)
    schema = postgres_url.rpartition("schema=")[2]
    assert postgres.query(f"SELECT to_regclass('{schema}.purse_row') IS NULL") == "t"
    assert postgres.query(f"SELECT count(*), max(position) FROM {schema}_rows.projection_checkpoints") == "16|1"
    postgres.query(f"DROP SCHEMA {schema}_rows CASCADE")
    await pay_and_look(app)
    assert postgres.query(f"SELECT count(*) FROM {schema}_rows.purse_row") == "2"
    postgres.query(f"DROP SCHEMA {schema}_rows CASCADE")


async def test_rows_of_a_file_are_on_a_server(tmp_path: Path, postgres_url: str) -> None:
    """And of another file they are another history's."""
    await pay_and_look(purses(f"sqlite:///{tmp_path}/one.db", views=postgres_url))
    with pytest.raises(OtherHistoryError):
        await pay_and_look(purses(f"sqlite:///{tmp_path}/other.db", views=postgres_url))


async def test_an_inline_projection_does_not_go_with_rows_elsewhere(tmp_path: Path, postgres_url: str) -> None:
    app = App(f"sqlite:///{tmp_path}/one.db", views=postgres_url)
    app.project(Purses, mode="inline")
    with pytest.raises(ConfigurationError, match="is inline, so its rows are with the events"):
        async with app:
            pass
