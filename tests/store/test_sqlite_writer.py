"""The writer: groups, refusals, cancellation, closing, and a write-ahead log that stays small."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import apsw
import pytest

from diptych.errors import (
    DomainError,
    ProgrammingError,
    StoreFullError,
    StoreUnavailableError,
    WrongExpectedVersionError,
)
from diptych.store.batches import Fold, ViewBatch
from diptych.store.protocols import Append, Appended, StoreSettings, StreamWrite
from diptych.store.sqlite.appending import Appender, AppendJob
from diptych.store.sqlite.connection import DatabaseFile
from diptych.store.sqlite.events import SqliteEventStore
from diptych.store.sqlite.writer import Task, Writer, run_in_savepoint
from diptych.stream import ANY
from diptych.testing.contracts.events_samples import event, everything, key, record, stream, to

pytestmark = pytest.mark.anyio


def insert(number: int, *, fails: Exception | None = None, conflicts: tuple[str, ...] = ()) -> Task[int]:
    """A task that writes, and may fail after it has written."""

    def run(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        if fails is not None:
            raise fails
        return number

    return Task(run, conflicts)


async def writer_of(path: str, opened: Callable[[], object] = int) -> Writer:
    def prepare(connection: apsw.Connection) -> None:
        opened()
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)")
        connection.execute("PRAGMA application_id = 7")

    writer = Writer(DatabaseFile(path, 7, 1), StoreSettings(), prepare=prepare)
    await writer.open()
    return writer


def numbers(connection: apsw.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]


async def test_a_task_that_fails_after_writing_is_undone_alone(path: str) -> None:
    """L7"""
    writer = await writer_of(path)
    tasks = [insert(1), insert(2, fails=DomainError("no")), insert(3), insert(1), insert(4)]
    answers = await asyncio.gather(*[writer.submit(task) for task in tasks], return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, DomainError, int, ProgrammingError, int]
    assert await writer.submit(Task(numbers)) == [1, 3, 4]
    await writer.close()


@pytest.mark.parametrize("error", [apsw.FullError("full"), apsw.IOError("io"), StoreFullError("full")])
def test_a_job_that_finds_the_disk_full_or_broken_ends_the_whole_group_l7(error: Exception) -> None:
    """What SQLite could not write is not sure to be undone by itself: all of the transaction is."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
    connection.execute("BEGIN")
    assert run_in_savepoint(connection, insert(1).function) == 1
    with pytest.raises(type(error)):
        run_in_savepoint(connection, insert(2, fails=error).function)


def test_a_job_after_which_sqlite_has_given_up_the_transaction_ends_the_whole_group_l7() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")

    def give_up(connection: apsw.Connection) -> None:
        connection.execute("ROLLBACK")
        raise DomainError("no")

    connection.execute("BEGIN")
    with pytest.raises(DomainError):
        run_in_savepoint(connection, give_up)


@pytest.mark.parametrize(
    ("error", "raised", "times"),
    [
        (apsw.IOError("io"), StoreUnavailableError, 2),
        (apsw.FullError("full"), StoreFullError, 1),
        (DomainError("no"), DomainError, 1),
    ],
    ids=["broken", "full", "refused"],
)
async def test_a_file_that_could_not_be_written_is_opened_and_checked_again(
    path: str, error: Exception, raised: type[Exception], times: int
) -> None:
    """X2: unless it is only full, or nothing was wrong with it: opening takes time, and room on the disk."""
    opened: list[int] = []
    writer = await writer_of(path, lambda: opened.append(1))

    def fail(connection: apsw.Connection) -> None:
        connection.execute("ROLLBACK")
        raise error

    with pytest.raises(raised):
        await writer.submit(Task(fail))
    assert await writer.submit(insert(1)) == 1
    assert len(opened) == times
    await writer.close()


async def test_jobs_that_wait_go_in_one_transaction(path: str) -> None:
    """Group commit: while one is being written, the others gather."""
    writer, entered, go_on = await writer_of(path), threading.Event(), threading.Event()

    def wait(connection: apsw.Connection) -> int:
        entered.set()
        go_on.wait(10)
        return 0

    first = asyncio.create_task(writer.submit(Task(wait)))
    await asyncio.to_thread(entered.wait, 10)
    transactions: list[int] = []

    def count() -> bool:
        transactions.append(1)
        return False

    def note(connection: apsw.Connection) -> None:
        connection.set_commit_hook(count)

    jobs: list[Task[Any]] = [Task(note), *[insert(number) for number in range(50)]]
    rest = [asyncio.create_task(writer.submit(job)) for job in jobs]
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.gather(first, *rest)
    assert len(transactions) == 1
    await writer.close()


async def test_jobs_in_conflict_go_one_after_the_other_in_the_order_they_came(path: str) -> None:
    """L4"""
    writer, seen = await writer_of(path), []

    def note(number: int) -> Callable[[apsw.Connection], None]:
        return lambda connection: seen.append(number)

    await asyncio.gather(*[writer.submit(Task(note(number), ("same",))) for number in range(20)])
    assert seen == list(range(20))
    await writer.close()


@asynccontextmanager
async def held_up(store: SqliteEventStore) -> AsyncIterator[list[int]]:
    """Keep the writer busy, so that all that is sent meanwhile waits together; count transactions after that."""
    entered, go_on, transactions = threading.Event(), threading.Event(), list[int]()

    def wait(connection: apsw.Connection) -> None:
        entered.set()
        go_on.wait(10)

    def count() -> bool:
        transactions.append(1)
        return False

    def note(connection: apsw.Connection) -> None:
        connection.set_commit_hook(count)

    busy = [asyncio.create_task(store._writer.submit(Task(note)))]
    await busy[0]
    busy.append(asyncio.create_task(store._writer.submit(Task(wait))))
    await asyncio.to_thread(entered.wait, 10)
    transactions.clear()
    yield transactions
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.gather(*busy)


async def test_appends_that_only_look_at_one_stream_share_a_transaction(path: str) -> None:
    """Else every order of one customer would be synced by itself."""
    store, customer = SqliteEventStore(path), stream("Customer")
    await store.open()
    await store.append(to(customer, event()))
    async with held_up(store) as transactions:
        looking = [
            asyncio.create_task(store.append(Append([StreamWrite(customer, 1), StreamWrite(stream(), 0, [event()])])))
            for _ in range(5)
        ]
    await asyncio.gather(*looking)
    assert len(transactions) == 2
    await store.close()


@pytest.mark.parametrize("is_writer_first", [True, False])
async def test_an_append_that_looks_and_one_that_writes_are_judged_in_their_order_l6(
    path: str, is_writer_first: bool
) -> None:
    store, customer = SqliteEventStore(path), stream("Customer")
    await store.open()
    await store.append(to(customer, event()))
    looking = Append([StreamWrite(customer, 1), StreamWrite(stream(), 0, [event()])])
    writing = to(customer, event(), expected=1)
    both = [writing, looking] if is_writer_first else [looking, writing]
    async with held_up(store):
        sent = [asyncio.create_task(store.append(each)) for each in both]
    first, second = await asyncio.gather(*sent, return_exceptions=True)
    assert isinstance(first, Appended)
    assert isinstance(second, WrongExpectedVersionError if is_writer_first else Appended)
    await store.close()


async def test_two_appends_that_each_look_at_what_the_other_writes_do_not_both_pass_l6(path: str) -> None:
    """Write skew: each is right by itself, both together are not."""
    store, left, right = SqliteEventStore(path), stream(), stream()
    await store.open()
    async with held_up(store):
        sent = [
            asyncio.create_task(store.append(Append([StreamWrite(a, 0), StreamWrite(b, 0, [event()])])))
            for a, b in ((left, right), (right, left))
        ]
    first, second = await asyncio.gather(*sent, return_exceptions=True)
    assert (type(first), type(second)) == (Appended, WrongExpectedVersionError)
    await store.close()


async def test_a_cancelled_job_is_still_written(path: str) -> None:
    """An append in flight is never cancelled."""
    writer = await writer_of(path)
    callers = [asyncio.create_task(writer.submit(insert(number))) for number in range(10)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*callers, return_exceptions=True)
    )
    assert await writer.submit(Task(numbers)) == list(range(10))
    await writer.close()


async def test_closing_writes_what_waits_and_leaves_nothing(path: str) -> None:
    """L1"""
    writer = await writer_of(path)
    callers = [asyncio.create_task(writer.submit(insert(number))) for number in range(10)]
    await asyncio.sleep(0)
    await writer.close()
    await writer.close()
    assert await asyncio.gather(*callers) == list(range(10))
    with pytest.raises(StoreUnavailableError, match="closed"):
        await writer.submit(insert(11))
    assert not [thread for thread in threading.enumerate() if path in thread.name]
    assert not [name for name in os.listdir(os.path.dirname(path)) if name.endswith(("-wal", "-shm"))]


async def test_a_file_that_cannot_be_opened_leaves_no_thread(path: str) -> None:
    def refuse() -> None:
        raise StoreUnavailableError("not this one")

    with pytest.raises(StoreUnavailableError, match="not this one"):
        await writer_of(path, refuse)
    assert not [thread for thread in threading.enumerate() if path in thread.name]


async def test_a_job_outlives_the_loop_that_sent_it(path: str) -> None:
    """L1: a loop that closes while its append is in flight hurts nobody else."""
    writer = await writer_of(path)

    async def leave() -> None:
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        await writer.submit(insert(1))

    def run() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(leave())
        loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()

    await asyncio.to_thread(run)
    assert await writer.submit(insert(2)) == 2
    assert await writer.submit(Task(numbers)) == [1, 2]
    await writer.close()


async def test_several_loops_share_one_writer(path: str) -> None:
    """L2"""
    store = SqliteEventStore(path)
    await store.open()

    async def appends() -> list[int]:
        return [(await store.append(to(stream(), event()))).position for _ in range(20)]

    in_threads = await asyncio.gather(*[asyncio.to_thread(asyncio.run, appends()) for _ in range(3)], appends())
    assert sorted(position for positions in in_threads for position in positions) == list(range(1, 81))
    await store.close()


async def test_the_write_ahead_log_is_truncated_above_its_limit(path: str) -> None:
    """Section 5.1: also when a reader held it for a while."""
    store = SqliteEventStore(path, StoreSettings(wal_limit=1_000_000))
    await store.open()
    reader = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM events").get == 0
    for _ in range(20):
        await store.append(to(stream(), *[event(x="x" * 5000) for _ in range(20)]))
    assert _size(f"{path}-wal") > 1_000_000
    reader.close()
    await store.append(to(stream(), event()))
    await store.append(to(stream(), event()))
    assert _size(f"{path}-wal") < 1_000_000
    patience = await store._writer.submit(Task(lambda connection: connection.execute("PRAGMA busy_timeout").get))
    assert patience == StoreSettings().lock_timeout * 1000  # as it was before
    assert len(await everything(store)) == 402
    await store.close()


def _size(path: str) -> int:
    return os.path.getsize(path)


async def test_command_ids_are_forgotten_after_their_window(path: str) -> None:
    """C4: the oldest first, a few at a time, and yet faster than new ones come, however many share a commit."""
    store = SqliteEventStore(path, StoreSettings(command_window_days=-1))
    await store.open()
    keys = [key() for _ in range(3000)]
    for start in range(0, len(keys), 300):
        await asyncio.gather(*[store.append(Append([], command=record(each))) for each in keys[start : start + 300]])
    reader = apsw.Connection(path)
    assert reader.execute("SELECT count(*) FROM commands").get < 1000
    reader.close()
    assert await store.find_command(keys[0]) is None
    await store.append(Append([], command=record(keys[0])))
    assert await store.find_command(keys[0]) is not None
    await store.close()


class _Failing:
    """An inline projection whose handler raises."""

    name = "failing"

    def loads(self, events: Any) -> Any:
        raise DomainError("the projection failed")

    def fold(self, events: Any, rows: Any) -> Any:
        raise AssertionError("nothing was loaded")

    def script(self, events: Any) -> Any:
        return None


class _Rows:
    def fold_inline(self, connection: apsw.Connection, fold: Fold, events: Any, head_before: int) -> bool:
        connection.execute("CREATE TABLE IF NOT EXISTS seen (head INTEGER)")
        connection.execute("INSERT INTO seen VALUES (?)", (head_before,))
        fold.loads(events)
        return True

    def write_beside(self, connection: apsw.Connection, batch: ViewBatch) -> None:
        raise AssertionError("nothing is written beside here")


async def test_an_inline_fold_that_fails_refuses_its_append_alone(path: str) -> None:
    """L7: and its positions go to the next."""
    writer = SqliteEventStore(path)
    await writer.open()

    appender = Appender(writer._signal, writer._now, 30, _Rows())
    names = [stream() for _ in range(3)]
    appends = [Append([StreamWrite(name, ANY, [event(), event()])]) for name in names]
    appends[1] = appends[1]._replace(inline=[_Failing()])
    answers = await asyncio.gather(
        *[writer._writer.submit(AppendJob(each, appender)) for each in appends], return_exceptions=True
    )
    assert isinstance(answers[1], DomainError)
    assert [each.position for each in await everything(writer)] == [1, 2, 3, 4]
    assert not await writer.read_stream(names[1])
    await writer.close()
