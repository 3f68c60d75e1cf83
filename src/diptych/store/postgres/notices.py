"""Tells other processes that the log has grown, and hears it from them, on a connection of its own.

Rule: a notice is a hint: it carries nothing that is believed, and everything is right without any.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from diptych.errors import DiptychError
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, open_connection
from diptych.store.postgres.connections import close_connection

_COALESCE: Final = 0.005  # seconds: commits within them are told together
_AGAIN: Final = 1.0  # seconds before it connects again


class Notices:
    """One task, which says and hears. When its connection is lost it makes another, without hurry."""

    def __init__(self, database: Database, heard: Callable[[], None]) -> None:
        """`heard` is called when some process, perhaps this one, says that it appended."""
        self._database, self._heard = database, heard
        self._channel = f"diptych_{database.schema}"
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"notices {self._database.schema}")

    def tell(self) -> None:
        """Tell the others soon that this process appended."""
        self._wake.set()

    async def close(self) -> None:
        """End the task and let go of the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self._task])

    async def _work(self) -> None:
        while True:
            connection: Connection | None = None
            try:
                connection = await open_connection(self._database, {"synchronous_commit": "off"})
                await connection.add_listener(self._channel, self._notified)
                connection.add_termination_listener(lambda _: self._wake.set())
                self._heard()  # what was told while nobody listened
                while not connection.is_closed():
                    await self._wake.wait()
                    await asyncio.sleep(_COALESCE)
                    self._wake.clear()
                    await connection.execute("SELECT pg_notify($1, '')", self._channel)
            except (DiptychError, *DRIVER_ERRORS):
                pass
            finally:
                if connection is not None:
                    await close_connection(connection)
            await asyncio.sleep(_AGAIN)

    def _notified(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._heard()
