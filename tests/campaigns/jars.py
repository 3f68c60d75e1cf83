"""Jars that are filled: an isolated projection and one that is not, which fail where a file says so.

The file names a position and a harm (`57 exit`); empty, all is mended. Rows remember in which order they were changed.
"""

import json
import os
import threading
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple
from uuid import UUID

from diptych import App, DomainEvent, Key, Metadata, Projection, Query, ReadModel, ReadModels, id_for, on
from diptych.app.tuning import Tuning
from diptych.clock import new_id_bytes
from diptych.events.recorded import NewEvent
from diptych.store.protocols import Append, EventStore, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.subscriptions.reading import Pace

Harm = Literal["raise", "hang", "exit"]
Kind = Literal["jars", "sorts", "reports"]
ENDED: Final = 3  # how a process ends that a handler ends
PACE: Final = Pace(poll=0.2, save=0.1, first_pause=0.01, longest_pause=0.2, lease=0.5)
_JARS, _SORTS = 17, 5


class Filled(DomainEvent, name="jars.filled"):
    """The spoons may be a word, which only lenient code can read."""

    sort: str
    spoons: int


class FilledSomehow(DomainEvent, name="jars.filled"):
    sort: str
    spoons: int | str


@cache
def broken() -> type[DomainEvent]:
    """Return what only newer code knows: a process of old code has no such class."""

    class Broken(DomainEvent, name="jars.broken"):
        pass

    return Broken


class JarRow(ReadModel):
    id: Annotated[UUID, Key]
    history: int


class SortRow(ReadModel):
    sort: Annotated[str, Key]
    history: int


class ReportRow(ReadModel):
    id: Annotated[UUID, Key]
    history: int


class GetJar(Query[JarRow | None]):
    id: UUID


class GetSort(Query[SortRow | None]):
    sort: str


class Fault:
    """What the file says."""

    file: ClassVar[Path | None] = None

    @classmethod
    def strikes(cls, meta: Metadata) -> None:
        """Do what it says at this position."""
        said = cls.file.read_text().split() if cls.file is not None else []
        if said and int(said[0]) == meta.position:
            match said[1]:
                case "exit":
                    os._exit(ENDED)
                case "hang":
                    threading.Event().wait(60)
                case _:
                    raise RuntimeError("this one is poisoned")


def after(history: int, spoons: int | str) -> int:
    """A number that tells in which order what was put in."""
    return (history * 31 + (spoons if isinstance(spoons, int) else len(spoons)) + 1) % 2_147_483_647


def spoons_of(event: Any) -> int | str:
    """How many, whatever the code calls the event."""
    found: int | str = event.spoons
    return found


def sort_of(event: Any) -> str:
    """Of what."""
    return str(event.sort)


def projections(event: type[Any], more: type[Any] | None) -> dict[Kind, type[Projection[Any]]]:
    """The projections of code that knows the events so; `more` is one that only newer code knows."""

    class Jars(Projection[JarRow], name="jars"):
        """Isolated."""

        @on
        def filled(self, row: JarRow | None, event: event, meta: Metadata) -> JarRow:  # type: ignore[valid-type]
            Fault.strikes(meta)
            return JarRow(id=meta.stream.id, history=after(row.history if row else 0, spoons_of(event)))

    class Sorts(Projection[SortRow], name="sorts"):
        """Not isolated."""

        @on(key="sort")
        def filled(self, row: SortRow | None, event: event, meta: Metadata) -> SortRow:  # type: ignore[valid-type]
            Fault.strikes(meta)
            return SortRow(sort=sort_of(event), history=after(row.history if row else 0, spoons_of(event)))

    class Reports(Projection[ReportRow], name="reports"):
        """Isolated, and never at fault."""

        @on
        def filled(self, row: ReportRow | None, event: event, meta: Metadata) -> ReportRow:  # type: ignore[valid-type]
            return ReportRow(id=meta.stream.id, history=after(row.history if row else 0, spoons_of(event)))

    if more is None:
        return {"jars": Jars, "sorts": Sorts, "reports": Reports}

    class NewerReports(Projection[ReportRow], name="reports"):
        @on
        def filled(self, row: ReportRow | None, event: event, meta: Metadata) -> ReportRow:  # type: ignore[valid-type]
            return ReportRow(id=meta.stream.id, history=after(row.history if row else 0, spoons_of(event)))

        @on
        def broken(self, row: ReportRow, event: more) -> ReportRow | None:  # type: ignore[valid-type]
            return None

    return {"jars": Jars, "sorts": Sorts, "reports": NewerReports}


class Code(NamedTuple):
    """What code a process runs: which projections of it, and whether it is lenient, or newer."""

    kinds: tuple[Kind, ...]
    is_lenient: bool = False
    is_newer: bool = False


def app_of(url: str, code: Code, *, is_worker: bool, handler_seconds: float = 30.0) -> App:
    """An app of this code, not yet started."""
    pace = PACE._replace(handler_seconds=handler_seconds)
    app = App(url, mode="production", tuning=Tuning(pace=pace, runs_projections=is_worker))
    known = projections(FilledSomehow if code.is_lenient else Filled, broken() if code.is_newer else None)
    for kind in code.kinds:
        app.project(known[kind])

    @app.query_handler
    async def get_jar(query: GetJar, read: ReadModels) -> JarRow | None:
        return await read.get(JarRow, query.id)

    @app.query_handler
    async def get_sort(query: GetSort, read: ReadModels) -> SortRow | None:
        return await read.get(SortRow, query.sort)

    return app


class Spoonful(NamedTuple):
    """One event, as anybody can tell what it does. Its position is where it is in a list, from 1."""

    jar: UUID
    sort: str
    spoons: int | str


def spoonfuls(count: int, odd: Collection[int] = ()) -> list[Spoonful]:
    """So many; at the positions `odd` a word stands where a number should."""
    return [
        Spoonful(id_for("jar", str(n * n % _JARS)), f"s{n * 7 % _SORTS}", "many" if n + 1 in odd else n % 13)
        for n in range(count)
    ]


async def fill(events: EventStore, given: Sequence[Spoonful]) -> None:
    """Append them, one append for each."""
    for one in given:
        payload = json.dumps({"sort": one.sort, "spoons": one.spoons})
        event = NewEvent(new_id_bytes(), "jars.filled", 1, payload)
        await events.append(Append([StreamWrite(StreamName("", "Jar", one.jar), ANY, [event])]))


async def break_one(events: EventStore, jar: UUID) -> None:
    """Append what only newer code knows."""
    event = NewEvent(new_id_bytes(), "jars.broken", 1, "{}")
    await events.append(Append([StreamWrite(StreamName("", "Jar", jar), ANY, [event])]))


def folded(given: Sequence[Spoonful], key: Callable[[Spoonful], Any], without: Collection[int] = ()) -> dict[Any, int]:
    """What comes of them by key, but for some positions, in the plainest way."""
    found: dict[Any, int] = {}
    for position, one in enumerate(given, 1):
        if position not in without:
            found[key(one)] = after(found.get(key(one), 0), one.spoons)
    return found
