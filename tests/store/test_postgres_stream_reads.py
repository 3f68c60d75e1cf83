"""Streams that are read at once on PostgreSQL: each is read as if it were alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from diptych.errors import CorruptedEventError, StoreCorruptedError, StoreUnavailableError
from diptych.store.postgres import log
from diptych.store.postgres.connection import Connection, database_of
from diptych.store.postgres.events import PostgresEventStore
from diptych.store.postgres.log import Log, Wanted
from diptych.stream import StreamName
from diptych.testing.contracts.events_samples import event, stream, to
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresEventStore]:
    """An open store."""
    store = PostgresEventStore(database_of(postgres_url)[0])
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many streams each answer was about, if it was about several."""
    found: list[int] = []
    several = Log.several

    async def counted(self: Log, connection: Connection, wanted: Sequence[Wanted]) -> Any:
        found.append(len(wanted))
        return await several(self, connection, wanted)

    monkeypatch.setattr(Log, "several", counted)
    return found


async def filled(store: PostgresEventStore, *counts: int) -> list[StreamName]:
    """Streams with so many events."""
    names = [stream() for _ in counts]
    for name, count in zip(names, counts, strict=True):
        if count:
            await store.append(to(name, *[event(number=number) for number in range(count)]))
    return names


async def test_what_is_asked_for_in_one_turn_is_one_answer(store: PostgresEventStore, answers: list[int]) -> None:
    names = await filled(store, *range(20))
    alone = [list(await store.read_stream(name)) for name in names]
    assert not answers
    assert [list(each) for each in await asyncio.gather(*map(store.read_stream, names))] == alone
    assert [len(each) for each in alone] == list(range(20))
    assert sum(answers) == 19  # the first had a statement of its own
    assert len(answers) < 5


async def test_each_is_read_from_its_own_version_on(store: PostgresEventStore, answers: list[int]) -> None:
    names = await filled(store, 5, 5, 5, 5, 5)
    firsts = (1, 0, 3, 5, 9)
    asked = [store.read_stream(name, first=first) for name, first in zip(names, firsts, strict=True)]
    found = await asyncio.gather(*asked)
    assert [[row.version for row in rows] for rows in found] == [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [3, 4, 5], [5], []]
    assert answers


async def test_a_long_one_is_read_to_its_end(store: PostgresEventStore, answers: list[int]) -> None:
    """An answer about several begins each of them only: a hundred long ones would not fit into memory."""
    long = log._FIRST_OF_SEVERAL
    names = await filled(store, 1, long - 1, long, long + 1, 3 * long)
    found = await asyncio.gather(*map(store.read_stream, names))
    assert [[row.version for row in rows] for rows in found] == [
        list(range(1, count + 1)) for count in (1, long - 1, long, long + 1, 3 * long)
    ]
    assert found[4][-1] == (await store.read_stream(names[4]))[-1]
    assert answers


async def test_a_damaged_one_is_the_trouble_of_who_reads_it(
    store: PostgresEventStore, owner: Any, answers: list[int]
) -> None:
    """X4"""
    names = await filled(store, 2, 2, 2, 2)
    await owner.execute("ALTER TABLE events DISABLE TRIGGER ALL")
    await owner.execute("UPDATE events SET payload = '{}' WHERE position = 4")
    await owner.execute("DELETE FROM events WHERE position = 6")
    found = await asyncio.gather(*map(store.read_stream, names), return_exceptions=True)
    assert isinstance(found[1], CorruptedEventError)
    assert found[1].position == 4
    assert isinstance(found[2], StoreCorruptedError)
    assert [len(rows) for rows in (found[0], found[3]) if not isinstance(rows, BaseException)] == [2, 2]
    assert answers


async def test_who_is_cancelled_takes_no_other_with_it(store: PostgresEventStore, answers: list[int]) -> None:
    names = await filled(store, 1, 2, 3, 4)
    reading = [asyncio.create_task(store.read_stream(name)) for name in names]
    await asyncio.sleep(0)
    reading[0].cancel()
    reading[2].cancel()
    found = await asyncio.gather(*reading, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in found] == [True, False, True, False]
    assert [len(each) for each in found if not isinstance(each, BaseException)] == [2, 4]
    assert answers
    await until(lambda: not store.connections_in_use)


async def test_an_error_is_each_callers_own(store: PostgresEventStore, owner: Any) -> None:
    """One exception shared by several tasks would mix their tracebacks; and the next one reads again."""
    names = await filled(store, 1, 1, 1)

    await owner.execute("ALTER TABLE streams RENAME TO gone")
    found = await asyncio.gather(*map(store.read_stream, names), return_exceptions=True)
    await owner.execute("ALTER TABLE gone RENAME TO streams")
    errors = [each for each in found if isinstance(each, BaseException)]
    assert len({id(each) for each in errors}) == 3
    assert [len(rows) for rows in await asyncio.gather(*map(store.read_stream, names))] == [1, 1, 1]


async def test_who_reads_after_a_commit_sees_it(store: PostgresEventStore, answers: list[int]) -> None:
    """L1: what others read in the same turn makes nothing older."""

    async def grow(name: StreamName) -> None:
        for count in range(1, 20):
            await store.append(to(name, event()))
            assert len(await store.read_stream(name)) == count

    await asyncio.gather(*[grow(stream()) for _ in range(16)])
    assert answers


async def test_who_reads_when_it_is_closed_is_told(store: PostgresEventStore) -> None:
    names = await filled(store, 1, 1, 1)
    await store.close()
    found = await asyncio.gather(*map(store.read_stream, names), return_exceptions=True)
    assert [isinstance(each, StoreUnavailableError) for each in found] == [True] * 3
