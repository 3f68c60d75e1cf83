"""Blocking calls in async handlers: an error in development that names the line, nothing in production (DP501)."""

import asyncio
import logging
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

import pytest

from diptych import App, Command, Query
from diptych.errors import ProgrammingError

pytestmark = pytest.mark.anyio

HERE = Path(__file__).name


class Work(Command[str]):
    pass


class Ask(Query[str]):
    pass


@asynccontextmanager
async def handling(
    work: Callable[[], Awaitable[Any]], mode: Literal["development", "production"] = "development"
) -> AsyncIterator[App]:
    """An app whose command and whose query do this."""
    app = App("memory:", mode=mode)

    @app.command_handler
    async def do_work(command: Work) -> str:
        return str(await work())

    @app.query_handler
    async def answer(query: Ask) -> str:
        return str(await work())

    async with app:
        yield app


async def sleeps() -> None:
    time.sleep(0)  # noqa: ASYNC251 - what is to be found


async def reads_a_file() -> str:
    return Path(__file__).read_text()  # noqa: ASYNC240 - what is to be found


async def reads_bytes() -> bytes:
    return Path(__file__).read_bytes()  # noqa: ASYNC240 - what is to be found


async def connects() -> None:
    with socket.socket() as own:
        own.connect(("127.0.0.1", 9))


async def selects() -> Any:
    connection = sqlite3.connect(":memory:")
    try:
        return connection.execute("SELECT 1")
    finally:
        connection.close()


async def starts_a_program() -> Any:
    return subprocess.run([sys.executable, "-V"], check=True)  # noqa: ASYNC221 - what is to be found


async def in_a_task() -> None:
    await asyncio.gather(asyncio.sleep(0), sleeps())


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (sleeps, "time.sleep blocks"),
        (reads_a_file, "io.TextIOWrapper.read blocks"),
        (reads_bytes, "io.BufferedReader.read blocks"),
        (connects, "socket.socket.connect blocks"),
        (selects, "sqlite3.Connection.execute blocks"),
        (starts_a_program, "subprocess.run blocks"),
    ],
)
async def test_a_blocking_call_in_a_handler_names_its_line(work: FunctionType, said: str) -> None:
    first = work.__code__.co_firstlineno
    async with handling(work) as app:
        for dispatch in (lambda: app.commands.dispatch(Work()), lambda: app.queries.dispatch(Ask())):
            with pytest.raises(ProgrammingError, match=r"\(rule DP501\)") as caught:
                await dispatch()
            assert said in str(caught.value)
            assert any(f"{HERE}:{first + at} {work.__name__}" in str(caught.value) for at in (1, 2, 3))


async def test_a_task_that_a_handler_starts_is_found_too() -> None:
    async with handling(in_a_task) as app:
        with pytest.raises(ProgrammingError, match=r"time\.sleep blocks, and while Work is handled"):
            await app.commands.dispatch(Work())


async def test_a_thread_may_block() -> None:
    async def in_a_thread() -> int:
        return len(await asyncio.to_thread(Path(__file__).read_text))

    async with handling(in_a_thread) as app:
        assert int((await app.commands.dispatch(Work())).result) > 0


async def test_a_log_may_be_written_into_a_file(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "told.log")
    logger = logging.getLogger("tests.blocking")
    logger.addHandler(handler)

    async def logs() -> None:
        logger.error("told")
        print("said")  # noqa: T201 - it is no blocking call either

    try:
        async with handling(logs) as app:
            await app.commands.dispatch(Work())
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert (tmp_path / "told.log").read_text() == "told\n"


async def test_a_line_may_say_why_it_blocks() -> None:
    async def means_it() -> None:
        time.sleep(0)  # noqa: ASYNC251  # diptych: ignore[DP501] the driver has no other call

    async def says_nothing() -> None:
        time.sleep(0)  # noqa: ASYNC251  # diptych: ignore[DP501]

    async with handling(means_it) as app:
        await app.commands.dispatch(Work())
    async with handling(says_nothing) as app:
        with pytest.raises(ProgrammingError, match="DP501"):
            await app.commands.dispatch(Work())


async def test_what_is_not_a_handler_may_block() -> None:
    async with handling(sleeps):
        await sleeps()
        assert await reads_a_file()


async def test_production_is_left_alone() -> None:
    """Nothing is put before anything, and a handler is called as it is."""
    plain = time.sleep
    async with handling(sleeps, "production") as app:
        assert time.sleep is plain
        await app.commands.dispatch(Work())
    async with handling(sleeps):
        assert time.sleep is not plain
        async with handling(sleeps, "production") as app:
            await app.commands.dispatch(Work())
    assert time.sleep is plain


async def test_without_blockbuster_nothing_is_watched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from diptych.app import blocking

    blocking._checks.cache_clear()
    monkeypatch.setitem(sys.modules, "blockbuster", None)
    try:
        with caplog.at_level(logging.INFO, "diptych.development"):
            async with handling(sleeps) as app:
                await app.commands.dispatch(Work())
    finally:
        blocking._checks.cache_clear()
    assert "pip install blockbuster" in caplog.text
