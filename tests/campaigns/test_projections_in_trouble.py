"""Events that code cannot read or does not know, old code beside new, and a database that goes away meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest

from tests.campaigns.crew import PATIENCE
from tests.campaigns.jars import Code, Kind, Spoonful, break_one, fill, folded, spoonfuls
from tests.campaigns.poison import Trial, trial
from tests.postgres import Server, had_or_skipped
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]

COUNT, K = 60, 23
OLD, NEW = Code(("jars", "sorts", "reports")), Code(("jars", "sorts", "reports"), is_newer=True)
LENIENT = Code(("jars", "sorts", "reports"), is_lenient=True)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


def by_jar(one: Spoonful) -> Any:
    return one.jar


def by_sort(one: Spoonful) -> Any:
    return one.sort


async def until_position(one: Trial, kind: Kind, position: int) -> None:
    """Return when a projection has applied so much; what this process last heard of it may be old, so it asks again."""
    progress, deadline = one.app.progress[kind], time.monotonic() + PATIENCE
    while not await progress.wait_for(position, 1.0):
        assert time.monotonic() < deadline, progress.error
        await asyncio.sleep(0.05)


async def until_said(one: Trial, *words: str) -> str:
    """Return what health says, as soon as all of this is in it."""
    wrong = ""
    with anyio.fail_after(PATIENCE):
        while not all(word in wrong for word in words):
            wrong = await one.is_healthy()
            await anyio.sleep(0.05)
    return wrong


def start(one: Trial, code: Code) -> int:
    """Start a process that runs this code."""
    return one.hands.start(one.labour._replace(code=code))


async def test_an_event_that_code_cannot_read_is_poison_until_other_code_can(url: str, tmp_path: Path) -> None:
    """P7: parked where that is possible, else a stop; a process with mended code goes on by itself."""
    given = spoonfuls(COUNT, odd=[K])
    async with trial(url, tmp_path, OLD) as one:
        strict = start(one, OLD)
        await fill(one.app.events, given)
        await until_position(one, "jars", COUNT)
        wrong = await until_said(one, "jars has 1 parked key", "sorts stopped")
        assert wrong.count(f"Position {K}: cannot read jars.filled v1: spoons") >= 2
        waiting = [p for p in range(K, COUNT + 1) if given[p - 1].jar == given[K - 1].jar]
        assert [each.position for each in await one.app.views.parked("jars")] == waiting
        assert await one.rows("jars") == folded(given, by_jar, waiting)
        assert await one.rows("sorts") == folded(given, by_sort, range(K, COUNT + 1))
        one.hands.kill(strict)
        start(one, LENIENT)
        await one.turns_healthy()
        for kind in ("jars", "sorts", "reports"):
            await until_position(one, kind, COUNT)
        assert await one.rows("jars") == await one.rows("reports") == folded(given, by_jar)
        assert await one.rows("sorts") == folded(given, by_sort)


async def test_a_process_of_old_code_gives_way_to_new_code_when_a_new_event_comes(url: str, tmp_path: Path) -> None:
    """I2: it never skips and never parks what it does not know."""
    given = spoonfuls(COUNT)
    async with trial(url, tmp_path, NEW) as one:
        start(one, OLD)
        start(one, NEW)
        await one.board_where(lambda board: len(board.workers) == 2 and len({row.owner for row in board.lanes}) == 2)
        await fill(one.app.events, given[:K])
        await break_one(one.app.events, given[0].jar)
        await fill(one.app.events, given[K:])
        for kind in ("jars", "sorts", "reports"):
            await until_position(one, kind, COUNT + 1)
        await one.turns_healthy()
        assert await one.rows("sorts") == folded(given, by_sort)
        assert await one.rows("jars") == folded(given, by_jar)
        assert [await one.app.views.parked(kind) for kind in ("jars", "sorts", "reports")] == [[], [], []]


async def test_what_no_process_knows_is_told_until_one_comes_that_does(url: str, tmp_path: Path) -> None:
    """I2: nothing is skipped, nothing parked; the newer process goes on by itself."""
    given = spoonfuls(COUNT)
    async with trial(url, tmp_path, NEW) as one:
        start(one, OLD)
        await fill(one.app.events, given[:K])
        await break_one(one.app.events, given[0].jar)
        await fill(one.app.events, given[K:])
        await until_said(one, "jars", "sorts", "reports", "jars.broken")
        assert {row.checkpoint.position for row in (await one.app.views.leases.board()).lanes} <= set(range(K + 1))
        start(one, NEW)
        await one.turns_healthy()
        for kind in ("jars", "sorts", "reports"):
            await until_position(one, kind, COUNT + 1)
        assert await one.rows("sorts") == folded(given, by_sort)
        assert [await one.app.views.parked(kind) for kind in ("jars", "sorts", "reports")] == [[], [], []]


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Nobody can write to a file of SQLite's."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


Away = Callable[[], Any]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def leaving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Away]]:
    """The URL of a database, and what makes it be away for a while."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/jars.db?lock_timeout=0.5", lambda: locked(tmp_path / "jars.views.db")
        return
    with had_or_skipped():
        server = Server()

    @asynccontextmanager
    async def stopped() -> AsyncIterator[None]:
        await asyncio.to_thread(server.stop)
        try:
            yield
        finally:
            await asyncio.to_thread(server.start)

    yield server.url(), stopped
    server.remove()


async def test_a_database_that_goes_away_parks_nothing_and_all_resumes_by_itself(
    leaving: tuple[str, Away], tmp_path: Path
) -> None:
    """X2: while a key is parked and a process stopped; afterwards the key is mended as if nothing had been."""
    url, away = leaving
    given = spoonfuls(COUNT)
    async with trial(url, tmp_path, Code(("jars", "reports"))) as one:
        one.has_fault(K, "raise")
        first, second = start(one, one.labour.code), start(one, one.labour.code)
        await one.board_where(lambda board: len(board.workers) == 2)  # one that only starts may end by it
        await fill(one.app.events, given[:40])
        await until_position(one, "jars", 40)
        parked = [each.position for each in await one.app.views.parked("jars")]
        async with away():
            await anyio.sleep(1.5)  # longer than a lease, and than anybody waits for a lock
        await fill(one.app.events, given[40:50])
        await until_position(one, "jars", 50)
        one.hands.stop(first)
        async with away():
            await anyio.sleep(1.0)
            one.hands.wake(first)
            await anyio.sleep(0.5)
        await fill(one.app.events, given[50:])
        await until_position(one, "jars", COUNT)
        await until_position(one, "reports", COUNT)
        waiting = [p for p in range(K, COUNT + 1) if given[p - 1].jar == given[K - 1].jar]
        assert [each.position for each in await one.app.views.parked("jars")] == waiting
        assert parked == [p for p in waiting if p <= 40]
        assert await one.rows("reports") == folded(given, by_jar)
        assert await one.rows("jars") == folded(given, by_jar, waiting)
        assert {first, second} == set(one.hands.pids)
        one.is_mended()
        await one.asks("jars", "retry", "", K)
        await one.turns_healthy()
        assert await one.rows("jars") == folded(given, by_jar)
