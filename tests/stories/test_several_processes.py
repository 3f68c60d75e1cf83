"""The order service as several processes: all alike, or some that answer beside some that work on projections."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from diptych import App
from diptych.app.tuning import Tuning
from diptych.store.leases import Board, Worker
from examples.orders.main import make_app
from tests.campaigns.service import Shoppers
from tests.postgres import free_port
from tests.projections.harmful import board_where
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]

_ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


class Ran:
    """`diptych run` of the order service."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.url = process, f"http://127.0.0.1:{port}"

    async def is_ready(self) -> None:
        """Return when it answers, and says that all is well."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            with anyio.fail_after(60):
                while True:
                    try:
                        if (await client.get("/health/ready")).status_code == 200:
                            return
                    except httpx.TransportError:
                        assert self.process.returncode is None
                    await asyncio.sleep(0.05)

    async def stops(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.terminate()
        with anyio.fail_after(30):
            return await self.process.wait()


@asynccontextmanager
async def ran(database: str, *words: str) -> AsyncIterator[Ran]:
    """Run it with these words; ended at the end."""
    port = free_port()
    command = (sys.executable, "-m", "diptych.cli", "run", "examples/orders/main.py", "--port", str(port), *words)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIPTYCH_")}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_ROOT, env=environment | {"ORDERS_DATABASE": database}, start_new_session=True
    )
    try:
        yield Ran(process, port)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        with anyio.move_on_after(30, shield=True):
            await process.wait()


@asynccontextmanager
async def watched(database: str) -> AsyncIterator[App]:
    """The app of a process that only looks."""
    app = make_app(database)
    app.tuning = Tuning(runs_projections=False)
    async with app:
        yield app


def shared_by(workers: int) -> Callable[[Board], bool]:
    """Whether so many workers are alive, each works on something, and all is worked on."""

    def is_so(board: Board) -> bool:
        owners = {row.owner for row in board.lanes}
        return len(board.workers) == workers and owners == {worker.id for worker in board.workers}

    return is_so


def kill(worker: Worker) -> None:
    """End the process of a worker without warning."""
    os.kill(int(worker.place.split()[-1]), signal.SIGKILL)


@asynccontextmanager
async def shopping(service: Ran) -> AsyncIterator[Shoppers]:
    """People who order all the while; at the end every order is there, once."""
    async with Shoppers(service.url, 3) as shoppers:
        ordering = asyncio.create_task(shoppers.shop())
        try:
            yield shoppers
        finally:
            shoppers.is_over = True
            await ordering
        await shoppers.check()


async def test_two_processes_that_are_alike_share_the_work_and_take_over_from_each_other(url: str) -> None:
    """P5, P1: uvicorn starts another for the one that was killed."""
    async with ran(url, "--workers", "2") as service:
        await service.is_ready()
        async with watched(url) as app, shopping(service) as shoppers:
            board = await board_where(app.views, shared_by(2), 30)
            await shoppers.have_more(20)
            kill(board.workers[0])
            gone = board.workers[0].id
            await board_where(app.views, lambda seen: shared_by(2)(seen) and gone not in _ids(seen), 30)
            await shoppers.have_more(20)


async def test_one_answers_and_two_work_and_a_read_has_what_they_made(url: str) -> None:
    """R1, P5: through a process that runs no projection; also when one of those that do is killed."""
    async with ran(url, "--only", "web") as web, ran(url, "--only", "workers"), ran(url, "--only", "workers"):
        await web.is_ready()
        async with watched(url) as app:
            board = await board_where(app.views, shared_by(2), 30)
            async with shopping(web) as shoppers:
                await shoppers.have_more(10)
            async with shopping(web) as shoppers:
                kill(board.workers[0])
                await board_where(app.views, shared_by(1), 30)
                await shoppers.have_more(10)


async def test_a_worker_that_is_told_to_end_lets_go_of_its_lanes_and_a_read_says_that_nobody_works(url: str) -> None:
    async with ran(url, "--only", "web") as web, ran(url, "--only", "workers") as worker:
        await web.is_ready()
        async with watched(url) as app:
            await board_where(app.views, shared_by(1), 30)
            assert await worker.stops() == 0
            board = await app.views.leases.board()
            assert board.workers == []
            assert {row.owner for row in board.lanes} == {""}
        async with httpx.AsyncClient(base_url=web.url) as client:
            answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert "no living process works on order_book. Start one: `diptych run --only workers`" in answer.text


async def test_several_workers_are_started_by_one_which_starts_another_for_one_that_is_killed(url: str) -> None:
    async with ran(url, "--only", "workers", "--workers", "2") as workers, watched(url) as app:
        board = await board_where(app.views, shared_by(2), 30)
        kill(board.workers[0])
        gone = board.workers[0].id
        await board_where(app.views, lambda seen: shared_by(2)(seen) and gone not in _ids(seen), 30)
        assert await workers.stops() == 0
        assert (await app.views.leases.board()).workers == []


def _ids(board: Board) -> set[str]:
    return {worker.id for worker in board.workers}
