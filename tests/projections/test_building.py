"""A generation for this code, until it is read, and those before it, until they are dropped."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.errors import AccessDeniedError, SwapRefusedError
from diptych.projections.building import Builder
from diptych.store.opening import open_stores
from diptych.store.protocols import ViewStore
from diptych.subscriptions.reading import Pace
from diptych.testing.contracts.view_rows import STORE, TALLIES, TALLY

pytestmark = pytest.mark.anyio

NEWER = TALLIES._replace(version=2, code="3.11:new", tables=(replace(TALLY, indexes=(("total",),)),))
SECOND = 1_000_000


@pytest.fixture
async def views() -> AsyncIterator[ViewStore]:
    """Rows of generation 1."""
    stores = open_stores("memory:")
    await stores.views.open([TALLIES], store_id=STORE)
    yield stores.views
    await stores.views.close()


class Site:
    """Where the builder works, with what it was told there."""

    def __init__(self, views: ViewStore) -> None:
        self.views, self.looks = views, 0
        self.rules = SimpleNamespace(pace=Pace(keep=10.0))
        self.steps: list[asyncio.Task[None]] = []

    def start(self, step: Callable[[], Coroutine[Any, Any, None]], name: str) -> "asyncio.Task[None]":
        """Take a step."""
        self.steps.append(asyncio.ensure_future(step()))
        return self.steps[-1]

    def look(self) -> None:
        """Look again."""
        self.looks += 1


def built(views: ViewStore) -> tuple[Builder, Site]:
    site: Any = Site(views)
    return Builder(NEWER, site), site


async def numbers(views: ViewStore) -> list[tuple[int, str]]:
    return [(one.number, one.state) for one in await views.generations.all()]


async def test_what_is_begun_for_this_code_is_gone_on_with(views: ViewStore) -> None:
    builder, _ = built(views)
    number = await builder.begun(await views.generations.all())
    assert await builder.begun(await views.generations.all()) == number
    assert await numbers(views) == [(1, "live"), (number, "building")]


async def test_what_other_code_began_is_begun_anew(views: ViewStore) -> None:
    other = await views.generations.begin(NEWER._replace(code="3.11:other"))
    builder, _ = built(views)
    assert await builder.begun(await views.generations.all()) > other.number


async def test_what_is_done_is_read_and_everybody_looks(views: ViewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be behind for a moment when the live one has just moved on."""
    builder, site = built(views)
    number = await builder.begun(await views.generations.all())
    swap, refused = views.generations.swap, [1, 2, 3]

    async def refuses(projection: str, number: int) -> None:
        if refused:
            refused.pop()
            raise SwapRefusedError(projection, number, "behind")
        await swap(projection, number)

    monkeypatch.setattr(views.generations, "swap", refuses)
    builder.finish(number)
    assert builder.is_busy
    await site.steps[0]
    assert not builder.is_busy
    assert (await numbers(views), site.looks, refused) == ([(1, "kept"), (number, "live")], 1, [])
    assert all(one.is_indexed for one in await views.generations.all())


async def kept(views: ViewStore) -> int:
    """Have a generation read beside which the first is kept; when that was."""
    await views.generations.swap("tallies", (await views.generations.begin(NEWER)).number)
    return next(one.since for one in await views.generations.all() if one.state == "kept")


async def test_what_is_not_read_any_more_is_dropped_after_a_time_and_not_before(views: ViewStore) -> None:
    builder, site = built(views)
    since = await kept(views)
    builder.tidy(await views.generations.all(), since + 10 * SECOND)
    assert site.steps == []
    builder.tidy(await views.generations.all(), since + 10 * SECOND + 1)
    await site.steps[0]
    assert [state for _, state in await numbers(views)] == ["live"]


async def test_what_only_the_owner_may_drop_is_left_alone(
    views: ViewStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    builder, site = built(views)
    since = await kept(views)

    async def refuses(projection: str, number: int) -> None:
        raise AccessDeniedError("only the owner may")

    monkeypatch.setattr(views.generations, "drop", refuses)
    for _ in range(2):
        builder.tidy(await views.generations.all(), since + 11 * SECOND)
        await asyncio.gather(*site.steps)
    assert len(site.steps) == 1
    assert "diptych projection drop tallies 1" in caplog.text
