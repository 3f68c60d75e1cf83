"""L5, forced, on PostgreSQL: an append is held between its positions and its commit, by a trigger on its table."""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import pytest

from diptych.store.protocols import EventStore
from tests.campaigns.history import History, violations
from tests.campaigns.naive_postgres import NaivePostgresStore
from tests.campaigns.stores import store_at
from tests.campaigns.test_forced_pause import poll_while_held
from tests.postgres import Server
from tests.postgres_servers.hindrances import TAKE_PAUSE, forced_pause

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def held_and_polled(server: Server, url: str, make: Callable[[], EventStore]) -> History:
    """What two appends and a reader saw, the first append held in its transaction while the second one goes on."""
    schema = dict(parse_qsl(urlsplit(url).query))["schema"]
    first, others = make(), make()
    await first.open()
    await others.open()
    forced_pause(server, schema)
    holder = await asyncpg.connect(server.url(over_tcp=True).partition("?")[0])
    await holder.execute(TAKE_PAUSE)
    try:
        return await poll_while_held(first, others, holder.terminate)
    finally:
        await others.close()
        await first.close()


async def test_a_reader_of_postgresql_sees_nothing_behind_a_held_append(postgres: Server, postgres_url: str) -> None:
    """L5: another session's append waits for the held one, so no position appears behind what a reader saw."""
    history = await held_and_polled(postgres, postgres_url, lambda: store_at(postgres_url))

    assert [entry.position for entry in history.log] == [1, 2]
    assert violations(history) == []


async def test_the_same_pause_catches_a_naive_reader_of_postgresql(postgres: Server, postgres_url: str) -> None:
    """L5: positions of a sequence and `position > last` skip an event in the very same test."""
    dsn, schema = postgres_url.partition("?")[0], postgres_url.rpartition("=")[2]
    place = f"{dsn}?host={postgres.folder}&port={postgres.port}"

    history = await held_and_polled(postgres, postgres_url, lambda: NaivePostgresStore(place, schema))

    assert [found.what for found in violations(history)] == ["reader r skipped positions [1] of (0, 2]"]
