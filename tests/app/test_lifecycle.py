"""Starting and stopping, also half-way: nothing is left running, and one app does not change another."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych import (
    Aggregate,
    App,
    Command,
    DomainEvent,
    Key,
    Metadata,
    Module,
    Projection,
    ReadModel,
    Repository,
    new_id,
    on,
)
from diptych.errors import ConfigurationError, OtherHistoryError, ProgrammingError, StoreUnavailableError
from diptych.projections.engine import ProjectionEngine
from diptych.store.sqlite.events import SqliteEventStore

pytestmark = pytest.mark.anyio


class Rung(DomainEvent):
    times: int


class Bell(Aggregate):
    times: int = 0

    @on
    def _rung(self, event: Rung) -> None:
        self.times += event.times


class Ring(Command):
    bell_id: UUID
    is_careless: bool = False


class Bells(ReadModel):
    id: Annotated[UUID, Key]
    times: int


class Rings(Projection[Bells]):
    @on
    def rung(self, row: Bells | None, event: Rung, meta: Metadata) -> Bells:
        return Bells(id=meta.stream.id, times=event.times)


def bells(url: str, mode: str = "production") -> App:
    app = App(url, mode="development" if mode == "development" else "production")
    app.project(Rings)

    @app.command_handler
    async def ring(command: Ring, bells: Repository[Bell]) -> None:
        bell = await bells.get_or_new(command.bell_id)
        if command.is_careless:
            bell.times = 7
        bell.record(Rung(times=1))

    return app


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A file, of which nothing may be open afterwards, and no thread more than before may run."""
    threads = set(threading.enumerate())
    yield f"sqlite:///{tmp_path}/bells.db"
    left = {thread.name for thread in threading.enumerate() if thread not in threads}
    assert {name for name in left if not name.startswith("asyncio")} == set()
    links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert [path for path in links if path.exists() and str(path.readlink()).startswith(str(tmp_path))] == []


async def test_rows_of_another_store_stop_the_start_and_leave_nothing(url: str, tmp_path: Path) -> None:
    finished: list[str] = []

    async def line() -> AsyncIterator[Path]:
        try:
            yield tmp_path
        finally:
            finished.append("line")

    async with bells(url):
        pass
    (tmp_path / "bells.db").unlink()
    app = bells(url)
    app.provide(Path, line)

    @app.command_handler
    async def other(command: Other, path: Path) -> None: ...

    with pytest.raises(OtherHistoryError, match="delete it and it is built again"):
        async with app:
            pass
    assert finished == ["line"]
    (tmp_path / "bells.views.db").unlink()
    async with app:
        await app.commands.dispatch(Ring(bell_id=new_id()))


class Other(Command):
    pass


async def test_a_store_that_fails_after_it_was_opened_is_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(self: SqliteEventStore) -> None:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(SqliteEventStore, "head", away)
    with pytest.raises(StoreUnavailableError):
        async with bells(url):
            pass


async def test_a_start_that_is_cancelled_stops_the_projections(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()
    start = ProjectionEngine.start

    async def hang(self: ProjectionEngine) -> None:
        await start(self)
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ProjectionEngine, "start", hang)
    starting = asyncio.create_task(bells(url).__aenter__())
    await begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert {task.get_name() for task in asyncio.all_tasks() if "diptych" in task.get_name()} == set()


async def test_an_app_in_production_does_not_suffer_from_one_in_development(url: str, tmp_path: Path) -> None:
    careless = Ring(bell_id=new_id(), is_careless=True)
    async with bells(url) as production, bells(f"sqlite:///{tmp_path}/other.db", "development") as development:
        await production.commands.dispatch(careless)
        with pytest.raises(ProgrammingError, match="set outside @on"):
            await development.commands.dispatch(Ring(bell_id=new_id(), is_careless=True))


async def test_nothing_is_watched_any_more_when_the_last_app_in_development_has_stopped(
    url: str, tmp_path: Path
) -> None:
    first, second = bells(url, "development"), bells(f"sqlite:///{tmp_path}/other.db", "development")
    async with first:
        async with second:
            pass
        with pytest.raises(ProgrammingError, match="set outside @on"):
            Bell(new_id()).times = 3
    Bell(new_id()).times = 3


@pytest.mark.parametrize("url", [None, Path("shop.db")])
def test_what_is_no_url_is_refused_when_the_app_is_made(url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is no URL\. Give a text such as sqlite:///shop\.db"):
        App(url)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path}/data/shop.db")
    with pytest.raises(StoreUnavailableError, match=f"there is no folder {tmp_path}/data. Make it, or mend the URL"):
        await app.__aenter__()


async def test_a_projection_is_decorated_with_its_mode() -> None:
    app = App()

    @app.project(mode="inline", lag_limit=2.0)
    class Rings(Projection[Bells]):
        @on
        def rung(self, event: Rung, meta: Metadata) -> Bells:
            return Bells(id=meta.stream.id, times=event.times)

    assert app.projected == {Rings: "inline"}
    assert app.limited == {Rings: 2.0}
    async with app:
        assert (await app.status()).projections[0].mode == "inline"


def test_a_projection_has_one_of_two_modes() -> None:
    mode: Any = "inlined"
    with pytest.raises(ConfigurationError, match="mode='inlined': a projection is async or inline"):
        App().project(mode=mode)


def test_what_is_included_is_a_module() -> None:
    package: Any = os
    module: Any = "bells"
    with pytest.raises(ConfigurationError, match="os is no Module of Diptych"):
        App().include(package)
    with pytest.raises(ConfigurationError, match="str is no Module of Diptych"):
        Module("shop").include(module)
