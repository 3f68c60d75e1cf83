"""Queries read from a replica, and still see what the command before them wrote, or say in time that they do not."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from diptych import App, ConfigurationError, new_id
from diptych.errors import StaleReadError, StoreUnavailableError
from diptych.stream import read_token
from tests.postgres import Server, had_or_skipped
from tests.postgres_servers.pair import Pair, running_pair
from tests.stories.purses import GetPurse, Pay, purses

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

BLOCK, HEADER = 8192, 24  # bytes of a page of PostgreSQL's own log, and of what stands before its records


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A primary, and a standby that it does not wait for."""
    with had_or_skipped(), running_pair() as pair:
        pair.primary.query("ALTER SYSTEM SET synchronous_standby_names = ''")
        pair.primary.query("SELECT pg_reload_conf()")
        yield pair


def copied(pair: Pair, schema: str) -> App:
    return purses(pair.primary.url(schema=schema), read_from=pair.standby.url())


async def test_a_read_sees_the_write_before_it_on_the_copy(pair: Pair) -> None:
    """R1, 200 times over, and R2: the position of an answer is one that the copy has."""
    async with copied(pair, "seen") as app:
        id, last = new_id(), 0
        for number in range(1, 201):
            receipt = await app.commands.dispatch(Pay(purse_id=id, amount=Decimal(1)))
            answer = await app.queries.answer(GetPurse(purse_id=id), after=receipt, within=5.0)
            assert answer.value is not None
            assert (answer.value.total, answer.is_stale) == (Decimal(number), False)
            position = read_token(answer.token)[0]
            assert position >= last
            last = position


async def test_the_first_read_finds_its_tables_on_a_copy_that_lags(pair: Pair) -> None:
    """They were made a moment ago, on the primary."""
    lag = "ALTER SYSTEM SET recovery_min_apply_delay = '700ms'", "ALTER SYSTEM RESET recovery_min_apply_delay"
    pair.standby.query(lag[0])
    pair.standby.query("SELECT pg_reload_conf()")
    try:
        async with copied(pair, "first") as app:
            assert await app.queries.dispatch(GetPurse(purse_id=new_id())) is None
    finally:
        pair.standby.query(lag[1])
        pair.standby.query("SELECT pg_reload_conf()")


def fill_the_page(server: Server) -> bool:
    """End the server's own log exactly with a page of it; False if somebody else wrote meanwhile."""
    write = "SELECT pg_logical_emit_message(false, '', repeat('x', {})) - '0/0'"
    overhead = -int(server.query(write.format(800))) + int(server.query(write.format(800))) - 800
    left = -int(server.query("SELECT pg_current_wal_insert_lsn() - '0/0'")) % BLOCK
    server.query(write.format(left - overhead if left > overhead else left + BLOCK - HEADER - overhead))
    return int(server.query("SELECT pg_current_wal_insert_lsn() - '0/0'")) % BLOCK == HEADER


async def test_a_copy_that_has_everything_is_seen_to_have_it(pair: Pair) -> None:
    """R1: where the next record would begin is past the end of the last one when that filled its page."""
    async with copied(pair, "filled") as app:
        assert await app.views.is_copied(5.0)
        filled = 0
        async with asyncio.timeout(60):
            while filled < 3:
                if fill_the_page(pair.primary):
                    filled += 1
                    assert await app.views.is_copied(3.0)


async def test_a_copy_that_stands_still_is_said_to_be_behind(pair: Pair) -> None:
    """R1, R3: never an old row as if it were new."""
    async with copied(pair, "still") as app:
        receipt = await app.commands.dispatch(Pay(amount=Decimal(1)))
        row: Any = await app.queries.dispatch(GetPurse(purse_id=receipt.result), after=receipt, within=5.0)
        pair.standby.query("SELECT pg_wal_replay_pause()")
        try:
            again = await app.commands.dispatch(Pay(purse_id=receipt.result, amount=Decimal(1)))
            with pytest.raises(StaleReadError):
                await app.queries.dispatch(GetPurse(purse_id=receipt.result), after=again, within=0.3)
            old = await app.queries.answer(GetPurse(purse_id=receipt.result), after=again, within=0.1)
            assert (old.value, old.is_stale, old.reason) == (row, True, "behind")
            assert old.as_of_position < again.position
        finally:
            pair.standby.query("SELECT pg_wal_replay_resume()")
        new: Any = await app.queries.dispatch(GetPurse(purse_id=receipt.result), after=again, within=5.0)
        assert new.total == 2


async def test_without_its_copy_queries_fail_and_commands_do_not(pair: Pair) -> None:
    """X2: and both work again when it is back."""
    async with copied(pair, "away") as app:
        receipt = await app.commands.dispatch(Pay(amount=Decimal(1)))
        pair.standby.stop()
        try:
            await app.commands.dispatch(Pay(purse_id=receipt.result, amount=Decimal(1)))
            with pytest.raises(StoreUnavailableError):
                await app.queries.dispatch(GetPurse(purse_id=receipt.result))
        finally:
            pair.standby.start()
        last = await app.commands.dispatch(Pay(purse_id=receipt.result, amount=Decimal(1)))
        row = await app.queries.dispatch(GetPurse(purse_id=receipt.result), after=last, within=10.0)
        assert row is not None
        assert row.total == 3


async def test_a_copy_of_a_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="read_from is for a replica"):
        async with App("memory:", read_from="postgresql://copy/shop"):
            pass
    with pytest.raises(ConfigurationError, match="views is for rows in a PostgreSQL database"):
        async with App("memory:", views="sqlite:///rows.db"):
            pass
