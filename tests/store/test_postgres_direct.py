"""What a connection knows of PostgreSQL's own arrays, so that no statement waits for questions about them."""

from typing import Any

import asyncpg
import pytest

from diptych.store.postgres.connection import database_of, open_connection
from diptych.store.postgres.direct import KNOWN_ARRAYS

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

_NAMES = [str(type["elemtype_name"]) for type in KNOWN_ARRAYS.values()]


async def _described(connection: Any, name: str) -> Any:
    return (await connection.prepare(f"SELECT $1::{name}[]")).get_parameters()


@pytest.mark.parametrize("options", ["", "&pgbouncer=true"])
async def test_no_statement_asks_for_an_array_that_is_known(postgres_url: str, options: str) -> None:
    connection = await open_connection(database_of(f"{postgres_url}{options}")[0], {})
    asked: list[str] = []
    connection.add_query_logger(lambda record: asked.append(str(record.query)))
    for name in _NAMES:
        assert await connection.fetchval(f"SELECT $1::{name}[]", []) == []
    assert [query for query in asked if "SELECT $1" not in query and not query.startswith(("BEGIN", "COMMIT"))] == []
    await connection.close()


async def test_what_is_known_is_what_the_server_would_have_said(postgres_url: str) -> None:
    database = database_of(postgres_url)[0]
    ours, plain = await open_connection(database, {}), await asyncpg.connect(database.dsn)
    for name in _NAMES:
        assert await _described(ours, name) == await _described(plain, name)
    await ours.close()
    await plain.close()


async def test_what_is_not_known_is_asked_for(postgres_url: str) -> None:
    connection = await open_connection(database_of(postgres_url)[0], {})
    assert await connection.fetchval("SELECT $1::macaddr[]", ["08:00:2b:01:02:03"]) == ["08:00:2b:01:02:03"]
    found = await connection.fetchrow("SELECT $1::int8[], $2::point[]", [1], [(1, 2)])
    assert found is not None
    assert tuple(found) == ([1], [(1, 2)])
    await connection.close()
