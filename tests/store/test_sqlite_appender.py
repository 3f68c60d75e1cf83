"""What the appender has learnt of a file holds only if the transaction in which it learnt that has committed."""

from pathlib import Path

import pytest

from diptych.store.heads import HeadSignal
from diptych.store.protocols import Appended
from diptych.store.sqlite.appending import Appender, AppendJob
from diptych.store.sqlite.connection import open_writer
from diptych.store.sqlite.events import SqliteEventStore
from diptych.store.sqlite.outside import events_file
from diptych.testing.contracts.events_samples import event, stream, to

pytestmark = pytest.mark.anyio


async def test_a_type_that_was_rolled_back_is_stored_with_the_next_event(tmp_path: Path) -> None:
    """L8, X2: the disk was full at the first commit of a type; its number is another's by the next."""
    path = str(tmp_path / "shop.db")
    store = SqliteEventStore(path)
    await store.open()
    await store.close()
    connection = open_writer(events_file(path), synchronous="full", lock_timeout=1.0)
    appender = Appender(HeadSignal(), lambda: 1_000_000, 30)
    for types, is_committed in ((["lost"], False), (["other", "lost"], True), (["lost", "other"], True)):
        connection.execute("BEGIN IMMEDIATE")
        jobs = [AppendJob(to(stream(), event(type=type)), appender) for type in types]
        outcomes = appender.run(connection, jobs)
        assert all(isinstance(outcome, Appended) for outcome in outcomes)
        connection.execute("COMMIT" if is_committed else "ROLLBACK")
        if is_committed:
            appender.committed()
    connection.close()
    store = SqliteEventStore(path)
    await store.open()
    assert [row.type for row in (await store.read_log(after=0)).events] == ["other", "lost", "lost", "other"]
    await store.close()
