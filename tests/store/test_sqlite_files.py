"""What may be opened, what is refused untouched, and what the database itself forbids."""

from pathlib import Path
from uuid import UUID
from zlib import crc32

import apsw
import pytest

from diptych.errors import (
    CorruptedEventError,
    OtherHistoryError,
    SkippedPositionsError,
    StoreCorruptedError,
    StoreNewerThanCodeError,
    StoreUnavailableError,
)
from diptych.events.recorded import checksum, is_intact
from diptych.store.protocols import CommandKey, CommandRecord
from diptych.store.sqlite.connection import DatabaseFile
from diptych.store.sqlite.events import EVENTS_SCHEMA, SqliteEventStore
from diptych.store.sqlite.migrations import migrations
from diptych.testing.contracts.events_samples import event, everything, stream, to

pytestmark = pytest.mark.anyio


async def test_a_newer_schema_is_refused_untouched(path: str) -> None:
    """What this code does not know it must not write."""
    await _store(path)
    with apsw.Connection(path) as newer:
        newer.pragma("user_version", EVENTS_SCHEMA + 1)
    newer.close()
    before = _bytes(path)
    with pytest.raises(StoreNewerThanCodeError, match="Upgrade diptych"):
        await SqliteEventStore(path).open()
    assert _bytes(path) == before


async def test_another_programs_database_is_refused_untouched(path: str) -> None:
    """Not even its journal mode is changed."""
    with apsw.Connection(path) as other:
        other.execute("CREATE TABLE notes (text TEXT)")
    other.close()
    before = _bytes(path)
    with pytest.raises(StoreCorruptedError, match="another program"):
        await SqliteEventStore(path).open()
    assert _bytes(path) == before


async def test_a_file_that_is_no_database_is_refused(path: str) -> None:
    """X2"""
    _write(path, "Dear diary, " * 1000)
    with pytest.raises(StoreCorruptedError, match="not a database"):
        await SqliteEventStore(path).open()


@pytest.mark.parametrize(
    ("name", "in_memory"),
    [("file:/shop?vfs=memdb", True), ("file:shop.db", False), ("shop.db", False), ("memdb", False)],
)
def test_only_a_database_in_memory_has_no_lock_file(name: str, in_memory: bool) -> None:
    file = DatabaseFile(name, 7, 1)
    assert (file.is_in_memory, file.is_on_disk, file.lock_path is None) == (in_memory, not in_memory, in_memory)


async def test_the_schema_is_that_of_the_last_migration() -> None:
    """A released migration is never edited; the next number is added."""
    assert [number for number, _ in migrations("events")] == list(range(1, EVENTS_SCHEMA + 1))


async def test_opening_again_migrates_nothing_and_keeps_the_store_id(path: str) -> None:
    """L1"""
    first = await _store(path)
    again = SqliteEventStore(path)
    await again.open()
    assert again.store_id == first.store_id
    assert (await again.head()).position == 2
    await again.close()


async def test_a_backup_put_back_while_the_store_is_open_knows_only_its_own_types(path: str, tmp_path: Path) -> None:
    """L7: an event with the number of a type that the backup does not have could never be read."""
    store, backup = SqliteEventStore(path), tmp_path / "backup.db"
    await store.open()
    await store.append(to(stream(), event("Early")))
    copier = apsw.Connection(path)
    copier.execute("VACUUM INTO ?", (str(backup),))
    copier.close()
    await store.append(to(stream(), event("Late")))
    _replace(path, str(backup))
    store._writer._look_again = 0.0
    await store.append(to(stream(), event("Late")))
    await store.close()
    again = SqliteEventStore(path)
    await again.open()
    assert [each.type for each in await everything(again)] == ["Early", "Late"]
    await again.close()


async def test_another_store_at_the_same_path_is_noticed(path: str, tmp_path: Path) -> None:
    """L5: a restored backup of another store must not continue this one's positions."""
    store = await _store(path, is_open=True)
    other = str(tmp_path / "other.db")
    await _store(other)
    _replace(path, other)
    await store.wait(99, 0.15)
    with pytest.raises(OtherHistoryError):
        await store.append(to(stream(), event()))
    await store.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET payload = '{}' WHERE position = 1",
        "DELETE FROM events",
        "REPLACE INTO events SELECT * FROM events WHERE position = 1",
        "INSERT INTO events SELECT 1, type, stream, version, schema_version, format, recorded_at, slice, checksum, "
        "chain, tenant, event_id, metadata, payload FROM events",
        "UPDATE streams SET version = 1",
        "UPDATE streams SET version = version + 1, category = 'Other'",
        "DELETE FROM streams",
        "UPDATE event_types SET name = 'Other'",
        "DELETE FROM event_types",
    ],
)
async def test_the_database_itself_refuses_to_change_the_past(path: str, sql: str) -> None:
    """L8: for the owner of the file too."""
    await _store(path)
    owner = apsw.Connection(path)
    with pytest.raises(apsw.ConstraintError, match=r"append-only|never"):
        owner.execute(sql)
    owner.close()


@pytest.mark.parametrize(
    "damage",
    [
        "payload = '{\"x\": 2}'",
        'metadata = \'{"user": "eve"}\'',
        "version = 9",
        "recorded_at = recorded_at + 1",
        "event_id = zeroblob(16)",
        "checksum = checksum + 1",
        "tenant = 'eve'",
        "payload = CAST(x'7bff7d' AS TEXT)",
        "payload = payload || char(31)",
        "payload = payload || char(0)",
    ],
)
async def test_a_damaged_event_is_named_by_its_position(path: str, damage: str) -> None:
    """X4: on every read, of a stream and of the log."""
    name = stream()
    store = SqliteEventStore(path)
    await store.open()
    await store.append(to(name, event(x=1), event(x=1), event(x=1)))
    with apsw.Connection(path) as owner:
        owner.execute("DROP TRIGGER events_are_never_changed")
        owner.execute(f"UPDATE events SET {damage} WHERE position = 2")
    owner.close()
    with pytest.raises(CorruptedEventError) as found:
        await store.read_log(after=0)
    assert found.value.position == 2
    if damage.startswith("checksum"):  # the event itself is whole: its stream says so
        assert all(map(is_intact, await store.read_stream(name)))
    else:
        with pytest.raises((CorruptedEventError, StoreCorruptedError)):
            await store.read_stream(name)
    assert store.connections_in_use == 0
    await store.close()


async def test_a_stream_that_was_written_anew_is_not_believed(path: str) -> None:
    """X4: rows whose own checksums are right are still not the stream that was written, if one was exchanged."""
    name = stream()
    store = SqliteEventStore(path)
    await store.open()
    await store.append(to(name, event(x=1), event(x=1), event(x=1)))
    row = (await store.read_stream(name))[1]._replace(payload='{"x": 2}')
    with apsw.Connection(path) as owner:
        owner.execute("DROP TRIGGER events_are_never_changed")
        owner.execute("UPDATE events SET payload = ?, checksum = ? WHERE position = 2", (row.payload, checksum(row)))
    owner.close()
    with pytest.raises(StoreCorruptedError, match="not those that were written"):
        await store.read_stream(name)
    assert len(await store.read_stream(name, first=2)) == 2  # each for itself is whole
    await store.close()


async def test_a_long_stream_is_read_in_pieces_and_checked_over_all(path: str) -> None:
    """L3, X4"""
    name = stream()
    store = SqliteEventStore(path)
    await store.open()
    for start in range(0, 4000, 1000):
        await store.append(to(name, *[event(x=start + number) for number in range(1000)]))
    rows = await store.read_stream(name)
    assert [row.version for row in rows] == list(range(1, 4001))
    assert not await store.read_stream(stream())
    with apsw.Connection(path) as owner:
        owner.execute("DROP TRIGGER events_are_never_changed")
        owner.execute("UPDATE events SET chain = chain + 1 WHERE version = 4000")
    owner.close()
    with pytest.raises(StoreCorruptedError, match="not those that were written"):
        await store.read_stream(name)
    await store.close()


async def test_a_missing_event_stops_its_readers(path: str) -> None:
    """P4, L3"""
    name = stream()
    store = SqliteEventStore(path)
    await store.open()
    await store.append(to(name, event(), event(), event()))
    with apsw.Connection(path) as owner:
        owner.execute("DROP TRIGGER events_are_never_deleted")
        owner.execute("DELETE FROM events WHERE position = 2")
    owner.close()
    with pytest.raises(SkippedPositionsError) as found:
        await store.read_log(after=0)
    assert (found.value.after, found.value.found) == (1, 3)
    for slices in (range(512), range(512, 1024)):
        with pytest.raises(SkippedPositionsError) as found:
            await store.read_slices(after=0, slices=slices)
        assert (found.value.after, found.value.found) == (1, 3)
    with pytest.raises(StoreCorruptedError, match="missing"):
        await store.read_stream(name)
    await store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "streams = '[[1]]'",
        "streams = 'no JSON'",
        'streams = \'[["", "Thing", "no id", 1]]\'',
        "event_types = 'no JSON'",
        "event_types = '7'",
    ],
)
async def test_what_a_command_did_is_not_guessed(path: str, damage: str) -> None:
    """X4, C1: that it took effect is known, and what it did is not."""
    store = SqliteEventStore(path)
    await store.open()
    record = CommandRecord(CommandKey("", "", "Ring", UUID(int=7)), b"hash", "null")
    await store.append(to(stream(), event())._replace(command=record))
    assert (await store.find_command(record.key)) is not None
    owner = apsw.Connection(path)
    owner.execute(f"UPDATE commands SET {damage}")
    owner.close()
    with pytest.raises(StoreCorruptedError, match=f"What command {UUID(int=7)} did cannot be read"):
        await store.find_command(record.key)
    assert store.connections_in_use == 0
    await store.close()


@pytest.mark.parametrize("table", ["streams", "event_types"])
async def test_events_that_have_lost_their_stream_or_type_are_not_passed_over(path: str, table: str) -> None:
    """P4"""
    store = SqliteEventStore(path)
    await store.open()
    await store.append(to(stream(), event(), event()))
    with apsw.Connection(path) as owner:
        for (name,) in owner.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?", (table,)
        ).fetchall():
            owner.execute(f"DROP TRIGGER {name}")
        owner.execute("PRAGMA foreign_keys = off")
        owner.execute(f"DELETE FROM {table}")
    owner.close()
    for reading in (store.read_log(after=0), store.read_slices(after=0, slices=range(1024))):
        with pytest.raises(StoreCorruptedError, match="2 events after 0 have lost their stream or type"):
            await reading
    await store.close()


async def test_a_store_that_closes_while_somebody_reads_says_so(path: str) -> None:
    """And keeps no connection."""
    store = await _store(path, is_open=True)
    store._threads.shutdown()
    for reading in (store.read_log(after=0), store.read_slices(after=0, slices=range(1024))):
        with pytest.raises(StoreUnavailableError, match=r"is closed\. Open the store before reading"):
            await reading
    assert store.connections_in_use == 0
    await store.close()
    for asked in (
        store.read_log(after=0),
        store.head(),
        store.read_stream(stream()),
        store.append(to(stream(), event())),
    ):
        with pytest.raises(StoreUnavailableError, match="is closed"):
            await asked


async def test_the_slice_of_an_event_is_that_of_its_stream(path: str) -> None:
    """P1: CRC-32 of the id alone, modulo 1024: streams that share it are in one lane."""
    name = stream(tenant="acme")
    store = SqliteEventStore(path)
    await store.open()
    await store.append(to(name, event()))
    await store.close()
    reader = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    expected = crc32(str(name.id).encode()) % 1024
    assert reader.execute("SELECT slice, tenant FROM events").get == (expected, "acme")
    assert name.slice == expected
    reader.close()


async def _store(path: str, *, is_open: bool = False) -> SqliteEventStore:
    store = SqliteEventStore(path)
    await store.open()
    await store.append(to(stream(), event(), event()))
    if not is_open:
        await store.close()
    return store


def _bytes(path: str) -> bytes:
    return Path(path).read_bytes()


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def _replace(path: str, other: str) -> None:
    for suffix in ("-wal", "-shm"):
        Path(path + suffix).unlink(missing_ok=True)
    Path(other).replace(path)
