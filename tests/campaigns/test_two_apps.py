"""Two processes run the same app on the same files: every command once, every row right."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.campaigns.stores import sqlite_url
from tests.campaigns.workload_bank import compete, look

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
COMMANDS = 120
ON_SERVER = ("postgres_url", "pooled_url")


@pytest.fixture(params=["sqlite", *[pytest.param(name, marks=pytest.mark.postgres) for name in ON_SERVER]])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the two processes meet."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "shop.db")
    of_server: str = request.getfixturevalue(request.param)
    return of_server


async def test_two_processes_with_the_same_projections_are_right_together(url: str, tmp_path: Path) -> None:
    """C1, P1, P2, P5, L6: half of the commands are sent by both, with the same ids, to the same few accounts."""
    program = [sys.executable, "-m", "tests.campaigns", "compete", url, str(tmp_path), "--commands", str(COMMANDS)]
    other = await asyncio.create_subprocess_exec(*program, "--seed", "2", cwd=ROOT)
    mine = await compete(url, tmp_path, 1, COMMANDS)
    assert await other.wait() == 0
    theirs = json.loads((tmp_path / "answers-2").read_text())

    shared = mine.keys() & theirs.keys()
    assert len(shared) == COMMANDS // 2
    assert [mine[name] for name in shared] == [theirs[name] for name in shared]
    rows = await look(url)
    assert sum(row[2] for row in rows["account_balance"].values()) == len(mine.keys() | theirs.keys())
    assert sum(row[1] for row in rows["ledger"].values()) == len(mine.keys() | theirs.keys())
