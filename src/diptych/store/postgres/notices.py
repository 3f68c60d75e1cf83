"""Tells other processes that the log has grown, and hears it from them, on a connection of its own.

Rule: a notice is a hint: it carries nothing that is believed, and everything is right without any.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from diptych.errors import DiptychError
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, open_connection
from diptych.store.postgres.connections import close_connection

_COALESCE: Final = 0.005  # seconds between two notices: what is committed in them is told together
_HELLO: Final = "hello"  # whoever hears it answers
_AGAIN: Final = 1.0  # seconds before it connects again


class Notices:
    """One task, which says and hears. When its connection is lost it makes another, without hurry.

    Who begins to listen says so, and all who hear it answer: so each knows whether there are others. A process that is
    alone tells nobody, which would cost a fifth of the time of an append.
    """

    def __init__(self, database: Database, heard: Callable[[], None]) -> None:
        """`heard` is called when another process says that it appended."""
        self._database, self._heard = database, heard
        self._channel = f"diptych_{database.schema}"
        self._wake = asyncio.Event()
        self._is_alone = True
        self._own = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, unless it has: at the first append or wait, for a notice costs whoever hears it, and the server."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=f"notices {self._database.schema}")

    def tell(self) -> None:
        """Tell the others soon that this process appended, if there are any."""
        if not self._is_alone:
            self._wake.set()

    async def close(self) -> None:
        """End the task and let go of the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        while True:
            connection: Connection | None = None
            try:
                connection = await open_connection(self._database, {"synchronous_commit": "off"})
                self._own = connection.get_server_pid()
                connection.add_termination_listener(lambda _: self._wake.set())
                await connection.add_listener(self._channel, self._notified)
                self._heard()  # what was told while nobody listened
                self._wake.set()
                told, says = -_COALESCE, _HELLO
                while not connection.is_closed():
                    await self._wake.wait()
                    await asyncio.sleep(max(0.0, told + _COALESCE - time.monotonic()))
                    self._wake.clear()
                    told = time.monotonic()
                    await connection.execute("SELECT pg_notify($1, $2)", self._channel, says)
                    says = ""
            except (DiptychError, *DRIVER_ERRORS):
                pass
            finally:
                if connection is not None:
                    await close_connection(connection)
            await asyncio.sleep(_AGAIN)

    def _notified(self, connection: object, pid: int, channel: str, payload: object) -> None:
        if pid == self._own:
            return
        self._is_alone = False
        if payload == _HELLO:
            self._wake.set()
        self._heard()
