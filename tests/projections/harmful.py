"""Projections that some products end, hang or hold up, and what it takes to run them in a process of their own."""

import asyncio
import ctypes
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import anyio

from diptych.handlers import on
from diptych.messages import Metadata
from diptych.projections.projection import Projection
from diptych.store.leases import Board
from diptych.store.protocols import ViewStore
from tests.projections.shop import Added, Basket, HandWritten, Placed

ROOT = Path(__file__).parents[2]
let_go = threading.Event()


def suffer(product: str) -> None:
    """Do what the product's name says."""
    match product:
        case "exit":
            os._exit(3)
        case "grab":  # the interpreter, so that no other thread of the process runs
            ctypes.PyDLL(None).sleep(20)
        case "hang":
            let_go.wait(20)
        case "fail":
            raise RuntimeError("enough")


class Harmful(Projection[Basket]):
    """Isolated."""

    is_mended: ClassVar[bool] = False

    @on
    def placed(self, event: Placed, meta: Metadata) -> Basket:
        return Basket(id=meta.stream.id, total=Decimal(0), items=0)

    @on
    def added(self, row: Basket, event: Added) -> Basket:
        if not self.is_mended:
            suffer(event.product)
        return row.replace(items=row.items + event.quantity)


class HarmfulSales(Projection[HandWritten]):
    """Not isolated."""

    @on(key="product")
    def sold(self, row: HandWritten | None, event: Added) -> HandWritten:
        suffer(event.product)
        return HandWritten(product=event.product, lines=(row.lines if row else 0) + 1)


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `tests.projections.child` until it says that it has started, or has met what ends it; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.projections.child", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begins\n", "it failed before it had begun"
        await process.stdout.readline()  # started, or the end
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(what: Callable[[], bool], seconds: float = 10) -> None:
    """Return when it is so."""
    with anyio.fail_after(seconds):
        while not what():  # noqa: ASYNC110 - it is looked at, not told
            await anyio.sleep(0.005)


async def board_where(views: ViewStore, what: Callable[[Board], bool], seconds: float = 10) -> Board:
    """Return the board as soon as it is so."""
    with anyio.fail_after(seconds):
        while not what(board := await views.leases.board()):  # noqa: ASYNC110 - as above
            await anyio.sleep(0.005)
    return board


def owners(board: Board, projection: str) -> list[str]:
    """Who has each lane of a projection."""
    return [row.owner for row in board.lanes if row.projection == projection]
