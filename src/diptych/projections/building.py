"""Generations that a process makes for its code, and drops when nobody has read them for long.

Rule: each step may be done by several processes at once, and is done once.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from diptych.errors import AccessDeniedError, StoreError, SwapRefusedError
from diptych.projections.choosing import is_same_code
from diptych.projections.site import Site
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation

_log: Final = logging.getLogger("diptych.projections")
_TRIES: Final = 20
_PAUSE: Final = 0.02


class Builder:
    """Begins generations of one projection, has them read when they are done, and drops those that are not."""

    def __init__(self, tables: ProjectionTables, site: Site) -> None:
        self._tables, self._site = tables, site
        self._step: asyncio.Task[None] | None = None
        self._left: set[int] = set()  # generations that this process may not drop

    async def begun(self, generations: Sequence[Generation]) -> int:
        """Return the generation that is being built for this code; there is one from now on.

        :raises AccessDeniedError: only the owner of the schema may begin one.
        """
        for one in generations:
            is_ours = one.fits(self._tables) and is_same_code(one.code, self._tables.code)
            if one.state == "building" and is_ours:
                return one.number
        begun = await self._site.views.generations.begin(self._tables)
        _log.info("%s is built again, beside what is read: generation %d", self._tables.name, begun.number)
        return begun.number

    def finish(self, number: int) -> None:
        """Make its indexes, and have it read."""
        self._begin(partial(self._finish, number))

    def tidy(self, generations: Sequence[Generation], now: int) -> None:
        """Drop what was kept for long enough."""
        for one in generations:
            if (
                one.state == "kept"
                and one.number not in self._left
                and now - one.since > self._site.rules.pace.keep * 1_000_000
            ):
                self._begin(partial(self._drop, one.number))
                return

    @property
    def is_busy(self) -> bool:
        """Whether a step is being taken."""
        return self._step is not None and not self._step.done()

    def _begin(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._step = self._site.start(step, f"diptych-builds-{self._tables.name}")

    async def _finish(self, number: int) -> None:
        generations, name = self._site.views.generations, self._tables.name
        try:
            await generations.index(name, number)
            for _ in range(_TRIES):
                try:
                    await generations.swap(name, number)
                except SwapRefusedError as refused:
                    _log.debug("%s", refused)
                    await asyncio.sleep(_PAUSE)
                else:
                    _log.info("%s is read from generation %d", name, number)
                    self._site.look()
                    return
        except (StoreError, SwapRefusedError, AccessDeniedError) as error:
            _log.warning("%s cannot be read from generation %d yet: %s", name, number, error)

    async def _drop(self, number: int) -> None:
        try:
            await self._site.views.generations.drop(self._tables.name, number)
            _log.info("Generation %d of %s, not read any more, is dropped", number, self._tables.name)
        except AccessDeniedError:
            self._left.add(number)
            name = self._tables.name
            _log.warning(
                "Only the owner may drop what is not read any more: diptych projection drop %s %d", name, number
            )
        except (StoreError, SwapRefusedError) as error:
            _log.warning("Generation %d of %s cannot be dropped yet: %s", number, self._tables.name, error)
