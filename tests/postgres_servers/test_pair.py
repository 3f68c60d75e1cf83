"""The harness: what a synchronous pair acknowledged survives the primary, and what it did not, may be gone."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from tests.postgres import had_or_skipped
from tests.postgres_servers.pair import Pair, running_pair

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary with a synchronous standby."""
    with had_or_skipped(), running_pair() as pair:
        yield pair


def dsn(pair: Pair) -> str:
    """What asyncpg takes."""
    return pair.url().partition("?")[0] + "?target_session_attrs=primary"


async def count(pair: Pair, acknowledged: list[int], writer: int) -> None:
    """Insert numbers, one commit each, and write down which were acknowledged, until the connection is lost."""
    connection = await asyncpg.connect(dsn(pair))
    try:
        for number in range(writer * 1_000_000, (writer + 1) * 1_000_000):
            await connection.execute("INSERT INTO numbers VALUES ($1)", number)
            acknowledged.append(number)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()


async def test_what_was_acknowledged_survives_a_killed_primary(pair: Pair) -> None:
    """L1 of the pair itself, three times over, each time with the other server killed under load."""
    pair.primary.query("CREATE TABLE numbers (number bigint PRIMARY KEY)")
    acknowledged: list[int] = []
    for each in range(3):
        writers = [asyncio.create_task(count(pair, acknowledged, each * 4 + writer)) for writer in range(4)]
        await asyncio.sleep(0.3)
        pair.fail_over()
        await asyncio.gather(*writers)
        pair.renew()

    stored = set(map(int, pair.primary.query("SELECT number FROM numbers").split()))
    assert len(acknowledged) > 30
    assert set(acknowledged) <= stored


async def test_a_commit_without_the_standby_is_not_acknowledged_and_is_lost_with_the_primary(pair: Pair) -> None:
    """C3, the setting of it: a commit that the standby never heard of is visible on the primary, and then is gone."""
    pair.primary.query("CREATE TABLE numbers (number bigint)")
    pair.cut_off()
    connection = await asyncpg.connect(dsn(pair))
    waiting = asyncio.create_task(connection.execute("INSERT INTO numbers VALUES (1)"))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done

    pair.primary.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    await waiting
    connection.terminate()
    assert pair.primary.query("SELECT number FROM numbers") == "1"
    pair.fail_over()

    assert pair.primary.query("SELECT count(*) FROM numbers") == "0"
