"""P7: whatever hand-written SQL raises or awaits, its projection says so, and the writer lives on."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from diptych.errors import DiptychError, StaleReadError
from diptych.projections.plan import Mode
from diptych.projections.projection import Projection
from diptych.store.batches import Db
from tests.projections import shop
from tests.projections.running import running
from tests.projections.shop import Added, HandWritten
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Own(BaseException):
    """What nobody catches."""


class Failing(Projection[HandWritten]):
    """Fails on poison in a chosen way."""

    raises: ClassVar[type[BaseException] | None] = None

    async def handle(self, event: Added, db: Db) -> None:
        await db.execute(
            "INSERT INTO hand_written (product, lines) VALUES (:product, 1) ON CONFLICT DO NOTHING",
            product=event.product,
        )
        if event.product == "poison" and self.raises is not None:
            raise self.raises("enough")
        if event.product == "poison":
            await asyncio.sleep(0)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.mark.parametrize("mode", ["inline", "async"])
@pytest.mark.parametrize("raises", [None, Own, GeneratorExit, asyncio.CancelledError, SystemExit, StopAsyncIteration])
async def test_a_script_that_raises_anything_fails_its_event(
    raises: type[BaseException] | None, mode: Mode, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "raises", raises)
    why = "may await nothing but its db" if raises is None else raises.__name__
    async with running(url, (Failing, mode)) as shop_:
        await shop_.append([(shop.order("1"), shop.added("pen"))])
        if mode == "inline":
            with pytest.raises(DiptychError, match=why):
                await shop_.append([(shop.order("1"), shop.added("poison"))])
            await shop_.append([(shop.order("1"), shop.added("ink"))])
            assert set(await shop_.rows(HandWritten)) == {"pen", "ink"}
            return
        await shop_.append([(shop.order("1"), shop.added("poison"))])
        with pytest.raises(StaleReadError):
            await shop_.engine.caught_up(2)
        progress = shop_.engine.progress["failing"]
        assert progress.state == "stopped"
        assert why in (progress.error or "")
        assert set(await shop_.rows(HandWritten)) == {"pen"}
