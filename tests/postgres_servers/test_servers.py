"""The harness: servers that are killed, paused, filled and pooled, and that leave nothing behind."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.postgres import Server, had_or_skipped
from tests.postgres_servers.bouncer import Bouncer
from tests.postgres_servers.small_disk import SmallDiskServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def server() -> Iterator[Server]:
    """A durable server that the test may break."""
    with had_or_skipped():
        server = Server(is_durable=True)
    yield server
    server.remove()


@pytest.fixture
def small() -> Iterator[SmallDiskServer]:
    """A server on a small disk."""
    with had_or_skipped():
        server = SmallDiskServer()
    yield server
    server.remove()


@pytest.fixture
def bouncer(server: Server) -> Iterator[Bouncer]:
    """PgBouncer in front of the server."""
    with had_or_skipped():
        bouncer = Bouncer(server, connections=1)
    yield bouncer
    bouncer.remove()


def test_a_killed_server_has_what_it_acknowledged(server: Server) -> None:
    """L1 of the server itself: killed with all its sessions, and started again on the same data."""
    server.query("CREATE TABLE numbers AS SELECT 1 AS number")
    before = server.pid

    server.kill()
    assert not server.is_running
    server.start()

    assert server.pid != before
    assert server.query("SELECT number FROM numbers") == "1"


def test_a_paused_server_answers_when_it_goes_on(server: Server) -> None:
    """Nothing is cut by a pause."""
    server.pause()
    psql = subprocess.Popen([sys.executable, "-c", _ASK, server.url(over_tcp=True)], stdout=subprocess.PIPE, cwd=_ROOT)
    with pytest.raises(subprocess.TimeoutExpired):
        psql.communicate(timeout=1)

    server.resume()

    assert psql.communicate(timeout=20)[0] == b"1\n"


_ASK = """
import asyncio, asyncpg, sys
async def ask():
    connection = await asyncpg.connect(sys.argv[1].partition("?")[0])
    print(await connection.fetchval("SELECT 1"))
    await connection.close()
asyncio.run(ask())
"""


def test_a_full_disk_refuses_and_takes_again(small: SmallDiskServer) -> None:
    """X2 of the server itself: SQLSTATE 53100 and no more; with space, it goes on by itself."""
    more = "INSERT INTO numbers SELECT repeat('x', 100) FROM generate_series(1, 100000)"
    small.query("CREATE TABLE numbers (number text)")
    small.fill()
    with pytest.raises(RuntimeError, match="No space left on device"):
        small.query(more)
    assert small.is_running

    small.free()
    small.query(more)
    small.fill()
    small.grow(400)
    small.query(more)

    assert small.query("SELECT count(*) FROM numbers") == "200000"


async def test_a_session_behind_pgbouncer_belongs_to_nobody(bouncer: Bouncer) -> None:
    """Two clients share one connection of the server, transaction by transaction."""
    dsn = bouncer.url().partition("?")[0]
    clients = [await asyncpg.connect(dsn, statement_cache_size=0) for _ in range(2)]

    seen = {await client.fetchval("SELECT pg_backend_pid()") for client in clients}

    for client in clients:
        await client.close()
    assert len(seen) == 1


_STARTED_AND_KILLED = """
import sys
from tests.postgres_servers.pair import running_pair
with running_pair() as pair:
    for each in (pair.primary, pair.standby):
        print(each.pid, each.folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("server")
def test_servers_end_with_the_process_that_started_them() -> None:
    """Nothing is left running when the tests are killed without warning."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STARTED_AND_KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT
    )
    with process:
        assert process.stdout is not None
        started = [process.stdout.readline().decode().split() for _ in range(2)]
        process.kill()

    deadline = time.monotonic() + 20
    for pid, folder in started:
        while _is_alive(int(pid)):
            assert time.monotonic() < deadline, "a server outlived the process that started it"
            time.sleep(0.05)
        shutil.rmtree(folder)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
