"""A reaction on a file that was moved: it stops, and what is left to be done is done where the store went."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from diptych import App, IdempotencyKey, new_id
from diptych.errors import StoreMovedError
from diptych.store.sqlite.moving import SourceFile
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Mail:
    """What the reaction does, which is not done before `goes` is set."""

    def __init__(self) -> None:
        self.begun: list[IdempotencyKey] = []
        self.goes = asyncio.Event()

    def app(self, path: Path, *, reacts: bool = True) -> App:
        """The shop, that writes to who ordered."""
        app = App(f"sqlite:///{path}", mode="development")
        app.include(shop())
        if reacts:

            @app.reaction
            async def write(event: OrderPlaced, key: IdempotencyKey) -> None:
                self.begun.append(key)
                await self.goes.wait()

        return app


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def stopped(caplog: pytest.LogCaptureFixture) -> Callable[[], bool]:
    """Whether it was told why a lane stands."""
    caplog.set_level(logging.WARNING, "diptych.duties")
    return lambda: (
        "shop.db was moved to the server. Nothing was stored; start the service with that URL." in caplog.text
    )


async def place_order(app: App) -> None:
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))


async def test_on_a_moved_file_nothing_is_begun(path: Path, stopped: Callable[[], bool]) -> None:
    """L1: else it would be done here and where the store went, by two who do not know of each other."""
    mail = Mail()
    mail.goes.set()
    async with mail.app(path) as app:
        await app.settled()
    async with mail.app(path, reacts=False) as app:
        await place_order(app)
    with SourceFile(str(path)) as source:
        source.mark("the server")
        async with mail.app(path) as app:
            with pytest.raises(StoreMovedError):
                await place_order(app)
            await until(stopped)
            assert mail.begun == []
        source.unmark()
    async with mail.app(path) as app:
        await app.settled()
    assert len(mail.begun) == 1


async def test_what_was_being_done_when_the_file_was_moved_is_not_said_to_be_done(
    path: Path, stopped: Callable[[], bool]
) -> None:
    """S1: that it was done would be known here, and not where the store went."""
    mail = Mail()
    async with mail.app(path) as app:
        await place_order(app)
        await until(lambda: mail.begun)
        with SourceFile(str(path)) as source:
            source.mark("the server")
            mail.goes.set()
            await until(stopped)
            assert len(mail.begun) == 1
            source.unmark()
        await app.settled()
    assert len(mail.begun) == 2
    assert len(set(mail.begun)) == 1


def test_a_file_that_is_opened_again_has_the_triggers_it_had(path: Path) -> None:
    """Also where rows of a duty are in it."""
    asyncio.run(_start(Mail().app(path)))
    with SourceFile(str(path)) as source:
        before = _triggers(source)
        source.mark("the server")
        assert source.moved_to() == "the server"
        assert len(_triggers(source)) > len(before)
        source.unmark()
        assert (_triggers(source), source.moved_to()) == (before, None)


async def _start(app: App) -> None:
    async with app:
        await app.settled()


def _triggers(source: SourceFile) -> list[tuple[str, str]]:
    return list(source._rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"))
