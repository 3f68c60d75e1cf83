"""A store moves from a file to a server: all of it, once, whatever happens on the way."""

import asyncio
import json
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw
import pytest

from diptych.errors import OtherHistoryError, StoreCorruptedError, StoreMovedError, StoreUnavailableError
from diptych.store import copying
from diptych.store.batches import LaneMove, RowChanges, ViewBatch
from diptych.store.copying import Moved, StoreCopy, copy
from diptych.store.copying_rows import Tell
from diptych.store.opening import open_stores
from diptych.store.protocols import Append, CommandKeyTaken, EventStore, StreamWrite
from diptych.store.sqlite.moving import SourceFile
from diptych.stream import ANY, StreamName
from diptych.testing.contracts.events_samples import event, everything, key, record, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally
from tests.postgres import Server, had_or_skipped

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CHILD = """
import asyncio, sys
from diptych.store.copying import copy

def tell(what, done, total):
    print(what, done, flush=True)

asyncio.run(copy(sys.argv[1], sys.argv[2], (), tell))
print("moved", flush=True)
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shop.db"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[EventStore]:
    store = open_stores(url).events
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(url: str, count: int = 300) -> list[StreamName]:
    """Make a history of streams of all lengths, tenants and commands."""
    chance = random.Random(count)
    streams = [stream(category, tenant=tenant) for category in ("Order", "Küche") for tenant in ("", "ada", "zoé")]
    async with opened(url) as store:
        for number in range(count):
            chosen = chance.sample(streams, chance.randint(1, 3))
            writes = [StreamWrite(each, ANY, [event(chance.choice("AB"), n=number)]) for each in chosen]
            append = Append(writes, json.dumps({"n": number}))
            if number % 3 == 0:
                append = append._replace(command=record(key(tenant="ada"), result=str(number)))
            await store.append(append)
        await store.append(to(stream("Long"), *[event("C", text="ä" * 300) for _ in range(999)]))
        await store.append(Append([], command=record(key(), "no events")))
    return streams


async def beside(store: EventStore) -> tuple[ViewBatch, ViewBatch]:
    """What a saga or a reaction may write without any event: with its lane, and a row alone."""
    await store.inline.open([TALLIES], store_id=store.store_id)
    (held,) = await store.inline.leases.claim("worker", TALLIES.name, 1, [0])
    head, row = await store.head(), RowChanges(TALLY, [Tally(name="tea", total=1)])
    moves = ViewBatch(TALLIES.name, 1, [LaneMove(0, held.epoch, 0)], head.position, head.event_id)
    return moves, ViewBatch(TALLIES.name, 1, [], 0, changes=[row])


def silent(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


async def move(source: str, target: str, tell: Tell = silent) -> Moved:
    return await copy(source, target, (), tell)


def commands_of(path: str) -> Sequence[Any]:
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    found = connection.execute("SELECT tenant, user_id, command_type, command_id FROM commands").fetchall()
    connection.close()
    return found


async def test_everything_is_the_same_on_both_sides(source: str, postgres_url: str) -> None:
    streams = await fill(source)
    moved = await move(source, postgres_url)
    assert {line.what for line in moved.lines} == {"events", "streams", "commands", "head"}
    assert all(line.source == line.target > 0 for line in moved.lines)
    async with opened(source) as file, opened(postgres_url) as server:
        assert await everything(file) == await everything(server)
        assert file.store_id == server.store_id
        for each in streams:
            assert list(await file.read_stream(each)) == list(await server.read_stream(each))
        for tenant, user, type, id in commands_of(source.removeprefix("sqlite:///")):
            named = key(tenant=tenant, user=user, type=type, id=UUID(bytes=id))
            assert await file.find_command(named) == await server.find_command(named) is not None


async def test_the_server_goes_on_where_the_file_ended(source: str, postgres_url: str) -> None:
    """L2, L3: positions, versions and command ids of the target follow on those of the source."""
    (first, *_) = await fill(source, 20)
    await move(source, postgres_url)
    async with opened(postgres_url) as server:
        version, head = len(await server.read_stream(first)), await server.head()
        again = record(key(), "1")
        appended = await server.append(Append([StreamWrite(first, version, [event("New")])], command=again))
        assert (appended.position, appended.versions) == (head.position + 1, [version + 1])
        with pytest.raises(CommandKeyTaken):
            await server.append(Append([StreamWrite(first, ANY, [event()])], command=again))
        assert len(await everything(server)) == appended.position


async def test_a_moved_file_refuses_appends_and_says_where_it_went(source: str, postgres_url: str) -> None:
    """In processes that had it open, and in those that open it later; what it has can still be read."""
    await fill(source, 5)
    async with opened(source) as open_before:
        moves_a_lane, makes_a_row = await beside(open_before)
        await move(source, postgres_url)
        async with opened(source) as open_after:
            for store in (open_before, open_after):
                refused = [
                    to(stream(), event()),
                    Append([], command=record(key())),
                    Append([], beside=moves_a_lane),
                    Append([], beside=makes_a_row),
                ]
                await store.inline.open([TALLIES], store_id=store.store_id)
                with pytest.raises(StoreMovedError):
                    await store.inline.leases.claim("another", TALLIES.name, 1, [0])
                for append in refused:
                    with pytest.raises(StoreMovedError, match="start the service with that URL") as told:
                        await store.append(append)
                assert "schema test_" in told.value.to
                assert "@" not in told.value.to
            assert len(await everything(open_before)) == (await open_after.head()).position


async def test_a_move_that_was_finished_is_only_confirmed(source: str, postgres_url: str) -> None:
    await fill(source, 5)
    await move(source, postgres_url)
    async with opened(postgres_url) as server:
        await server.append(to(stream(), event()))
        assert (await move(source, postgres_url)).was_done
        assert (await server.append(to(stream(), event()))).position == (await server.head()).position


async def test_a_target_with_another_history_is_left_alone(source: str, postgres_url: str) -> None:
    await fill(source, 5)
    async with opened(postgres_url) as server:
        await server.append(to(stream(), event()))
        with pytest.raises(OtherHistoryError):
            await move(source, postgres_url)
        assert (await server.append(to(stream(), event()))).position == 2
    async with opened(source) as file:
        await file.append(to(stream(), event()))


async def test_a_target_that_was_only_prepared_is_taken(source: str, postgres_url: str) -> None:
    await fill(source, 5)
    stores = open_stores(postgres_url)
    await stores.events.open()
    await stores.views.open([], store_id=stores.events.store_id)
    await stores.views.close()
    await stores.events.close()
    await move(source, postgres_url)
    async with opened(source) as file, opened(postgres_url) as server:
        assert file.store_id == server.store_id


async def test_a_moved_file_is_not_moved_to_a_second_place(source: str, postgres_url: str, postgres: Server) -> None:
    await fill(source, 5)
    await move(source, postgres_url)
    with pytest.raises(StoreMovedError):
        await move(source, postgres.url(schema="second"))
    assert postgres.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'second'") == "0"


async def test_a_source_that_is_written_while_it_is_copied_loses_nothing(
    source: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1: what the source acknowledged is in the target, and what it refused is not."""
    await fill(source, 200)
    monkeypatch.setattr(copying, "_EVENTS_PAGE", 20)
    acknowledged: set[bytes] = set()
    refused: set[bytes] = set()

    async def write(store: EventStore) -> None:
        while not refused:
            new = event("Meanwhile")
            try:
                await store.append(to(stream(), new, event("Second")))
                acknowledged.add(new.event_id)
            except StoreMovedError:
                refused.add(new.event_id)

    async with opened(source) as first, opened(source) as second:
        async with asyncio.TaskGroup() as group:
            for store in (first, second):
                group.create_task(write(store))
            await move(source, postgres_url)
        async with opened(postgres_url) as server:
            there = {each.event_id for each in await everything(server)}
            assert await everything(first) == await everything(server)
    assert acknowledged <= there
    assert there.isdisjoint(refused)
    assert len(acknowledged) > 10


async def test_a_target_refuses_appends_until_it_is_whole(source: str, postgres_url: str) -> None:
    """There is no moment at which both take appends."""
    await fill(source, 50)

    class StoppedError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if what == "compared":
            raise StoppedError

    with pytest.raises(StoppedError):
        await move(source, postgres_url, stop)
    async with opened(postgres_url) as server:
        moves_a_lane, makes_a_row = await beside(server)
        refused = [to(stream(), event()), Append([], command=record(key()))]
        for append in [*refused, Append([], beside=moves_a_lane), Append([], beside=makes_a_row)]:
            with pytest.raises(StoreUnavailableError, match="diptych db copy"):
                await server.append(append)
        assert (await server.head()).position > 1000
    async with opened(source) as file:
        await file.append(to(stream(), event()))
    assert (await move(source, postgres_url)).lines


async def test_a_copy_that_is_cancelled_lets_go_of_the_file(
    source: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(source, 50)
    started, events = threading.Event(), SourceFile.events

    def slowly(self: SourceFile, after: int, limit: int) -> Any:
        started.set()
        count = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 2000000) SELECT max(n) FROM c"
        self._rows(count)
        return events(self, after, limit)

    monkeypatch.setattr(SourceFile, "events", slowly)
    running = asyncio.create_task(move(source, postgres_url))
    await asyncio.to_thread(started.wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    monkeypatch.setattr(SourceFile, "events", events)
    assert (await move(source, postgres_url)).lines


async def test_a_backup_of_a_moved_file_is_not_moved_again(source: str, postgres_url: str, tmp_path: Path) -> None:
    """The server may have gone on: what the backup would add has no place there."""
    await fill(source, 5)
    (tmp_path / "backup.db").write_bytes((tmp_path / "shop.db").read_bytes())
    await move(source, postgres_url)
    with pytest.raises(StoreMovedError):
        await move(f"sqlite:///{tmp_path}/backup.db", postgres_url)


async def test_two_copies_at_once_do_not_meet(source: str, postgres_url: str) -> None:
    await fill(source, 50)
    outcomes = await asyncio.gather(*[move(source, postgres_url) for _ in range(2)], return_exceptions=True)
    assert sorted(isinstance(each, StoreUnavailableError) for each in outcomes) == [False, True]


async def test_a_server_that_is_away_for_a_moment_is_gone_on_with(source: str) -> None:
    """X2: a typed error, and the same call again does the rest."""
    await fill(source, 100)
    with had_or_skipped():
        server = Server(is_durable=True)
    try:

        def restart(what: str, done: int, total: int) -> None:
            if what == "events":
                server.restart(signal.SIGQUIT)

        with pytest.raises(StoreUnavailableError):
            await move(source, server.url(), restart)
        await move(source, server.url())
        async with opened(source) as file, opened(server.url()) as store:
            assert await everything(file) == await everything(store)
    finally:
        server.remove()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_killed_at_any_moment_while_services_write_nothing_is_lost_or_doubled(
    source: str, postgres_url: str, seed: int
) -> None:
    """X1, L1: what either side acknowledged is in the one log that there is in the end."""
    await fill(source, 100)
    chance, is_over = random.Random(seed), False
    acknowledged: list[bytes] = []

    async def write(store: EventStore) -> None:
        while not is_over:
            new = event("Meanwhile")
            with suppress(StoreMovedError, StoreUnavailableError):
                await store.append(to(stream(), new))
                acknowledged.append(new.event_id)
            await asyncio.sleep(0.001)

    async with opened(source) as file, asyncio.TaskGroup() as group:
        group.create_task(write(file))
        code: int | None = None
        while code != 0:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CHILD, source, postgres_url, stdout=asyncio.subprocess.DEVNULL
            )
            with suppress(TimeoutError):
                code = await asyncio.wait_for(child.wait(), chance.uniform(0.5, 2.5))
                continue
            child.send_signal(signal.SIGKILL)
            await child.wait()
        is_over = True
    async with opened(postgres_url) as server:
        there = [each.event_id for each in await everything(server)]
    assert len(there) == len(set(there))
    assert set(acknowledged) <= set(there)
    assert len(acknowledged) > 10


@pytest.mark.parametrize(
    "damage", ["UPDATE events SET payload = '{}' WHERE position = 40", "DELETE FROM events WHERE position = 40"]
)
async def test_a_damaged_source_is_not_moved_and_takes_appends_as_before(
    source: str, postgres_url: str, damage: str
) -> None:
    await fill(source, 50)
    file = apsw.Connection(source.removeprefix("sqlite:///"))
    for name in ("events_are_never_changed", "events_are_never_deleted"):
        file.execute(f"DROP TRIGGER {name}")
    file.execute(damage)
    file.close()
    with pytest.raises(Exception, match="osition 40"):
        await move(source, postgres_url)
    with SourceFile(source.removeprefix("sqlite:///")) as left:
        assert left.moved_to() is None


async def test_a_target_that_differs_is_found_out_and_the_source_goes_on(
    source: str, postgres_url: str, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X4: an event of the target that lies changed on its disk is seen, though its own checksum is right."""
    await fill(source, 50)
    schema = postgres_url.rpartition("schema=")[2]
    compare = StoreCopy._compare

    async def damaged_first(self: StoreCopy, checked: int) -> Any:
        postgres.query(
            f"ALTER TABLE {schema}.events DISABLE TRIGGER ALL; UPDATE {schema}.events SET payload = '{{\"n\": 9999}}', "
            f"checksum = 1 WHERE position = 7; ALTER TABLE {schema}.events ENABLE TRIGGER ALL"
        )
        return await compare(self, 0)

    monkeypatch.setattr(StoreCopy, "_compare", damaged_first)
    with pytest.raises(StoreCorruptedError, match="osition 7"):
        await move(source, postgres_url)
    async with opened(source) as file, opened(postgres_url) as server:
        await file.append(to(stream(), event()))
        with pytest.raises(StoreUnavailableError):
            await server.append(to(stream(), event()))


@pytest.mark.slow
async def test_killed_again_and_again_it_goes_on_where_it_was(source: str, postgres_url: str, tmp_path: Path) -> None:
    """X1: at every moment at most one side takes appends, and in the end everything is there."""
    await fill(source, 300)
    attempts, seen = 0, 0
    while True:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, source, postgres_url, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(attempts + 1):  # each attempt gets one step further
            line = await child.stdout.readline()
            seen += bool(line)
        if not line or line == b"moved\n":
            assert await child.wait() == 0
            break
        child.send_signal(signal.SIGKILL)
        await child.wait()
        attempts += 1
        await _at_most_one_takes_appends(source, postgres_url)
    assert attempts >= 2
    assert (await move(source, postgres_url)).was_done
    async with opened(source) as file, opened(postgres_url) as server:
        events = await everything(file)
        assert events == (await everything(server))[: len(events)]


async def _at_most_one_takes_appends(source: str, target: str) -> None:
    taken = 0
    for url in (source, target):
        async with opened(url) as store:
            try:
                await store.append(to(stream(), event("Between")))
                taken += 1
            except (StoreMovedError, StoreUnavailableError):
                continue
    assert taken <= 1
