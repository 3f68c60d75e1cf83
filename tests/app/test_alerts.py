"""Alerts of an app that runs: registered with it, started and stopped with it, raised once by two of them."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych.alerts import AlertChange
from diptych.app.application import App
from diptych.app.module import Module
from diptych.app.tuning import Tuning
from diptych.app.watching import Rounds
from diptych.clock import new_id
from diptych.errors import ConfigurationError
from diptych.handlers import on
from diptych.messages import Command, DomainEvent, Metadata
from diptych.projections.projection import Projection
from diptych.read.models import Key, ReadModel
from diptych.subscriptions.reading import Pace
from diptych.write.aggregate import Aggregate
from diptych.write.repository import Repository
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio

QUICK = Tuning(pace=Pace(lease=0.4), rounds=Rounds(every=0.02, update_after=0.0))


class Rung(DomainEvent):
    is_cracked: bool = False


class Bell(Aggregate):
    pass


class Ring(Command):
    bell_id: UUID
    is_cracked: bool = False


class Rings(ReadModel):
    id: Annotated[UUID, Key]
    times: int


class Ringing(Projection[Rings]):
    is_mended = False

    @on
    def rung(self, row: Rings | None, event: Rung, meta: Metadata) -> Rings:
        if event.is_cracked and not Ringing.is_mended:
            raise RuntimeError("a cracked bell")
        return Rings(id=meta.stream.id, times=1 + (row.times if row else 0))


def bells(url: str, tuning: Tuning = QUICK) -> tuple[App, list[AlertChange]]:
    """An app, and what its handler was told."""
    app, told = App(url, tuning=tuning), list[AlertChange]()
    module = Module("bells")
    module.project(Ringing)

    @module.command_handler
    async def ring(command: Ring, bells: Repository[Bell]) -> None:
        (await bells.get_or_new(command.bell_id)).record(Rung(is_cracked=command.is_cracked))

    @module.on_alert
    async def tell(change: AlertChange) -> None:
        told.append(change)

    app.include(module)
    return app, told


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.fixture
def cracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ringing, "is_mended", False)


async def test_a_parked_key_is_told_and_resolved_when_it_is_mended(url: str, cracked: None) -> None:
    """P7: it is said what is parked, and what to type."""
    app, told = bells(url)
    async with app:
        await app.commands.dispatch(Ring(bell_id=new_id(), is_cracked=True))
        await until(lambda: told)
        assert (told[0].change, told[0].alert.kind, told[0].alert.projection) == ("raised", "parked", "ringing")
        assert "a cracked bell" in told[0].alert.message
        assert told[0].alert.message.endswith("diptych projection retry ringing")
        Ringing.is_mended = True
        await app.views.leases.ask("ringing", "retry", by="a test")
        await until(lambda: told[-1].change == "resolved")
        assert await app.views.alerts.recent(is_open=True) == []
    assert [one.change for one in told if one.change != "updated"] == ["raised", "resolved"]


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_two_apps_on_one_store_raise_an_alert_once(url: str, cracked: None) -> None:
    (one, told_one), (other, told_other) = bells(url), bells(url)
    async with one, other:
        bell = new_id()
        await one.commands.dispatch(Ring(bell_id=bell, is_cracked=True))
        await until(lambda: told_one or told_other)
        Ringing.is_mended = True
        await other.views.leases.ask("ringing", "retry", by="a test")
        await until(lambda: any(each.change == "resolved" for each in (*told_one, *told_other)))
    changes = [each.change for each in (*told_one, *told_other) if each.change != "updated"]
    assert sorted(changes) == ["raised", "resolved"]


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_what_the_code_has_no_more_is_resolved_and_it_is_said_why(url: str, cracked: None) -> None:
    """It stayed raised for ever, as no code that watches knew its name."""
    before, told_before = bells(url)
    async with before:
        await before.commands.dispatch(Ring(bell_id=new_id(), is_cracked=True))
        await until(lambda: told_before)
    after, told = App(url, tuning=QUICK), list[AlertChange]()

    @after.on_alert
    async def tell(change: AlertChange) -> None:
        told.append(change)

    async with after:
        await until(lambda: told)
        assert await after.views.alerts.recent(is_open=True) == []
    assert (told[0].change, told[0].alert.kind, told[0].alert.projection) == ("resolved", "parked", "ringing")
    assert "a cracked bell" in told[0].alert.message
    assert told[0].alert.message.endswith("Resolved as nobody works on it: no code that runs has ringing any more")


async def test_the_watch_ends_with_the_app() -> None:
    app, _ = bells("memory:")
    async with app:
        assert any(task.get_name() == "diptych-watch" for task in asyncio.all_tasks())
    left = {task.get_name() for task in asyncio.all_tasks()}
    assert not [name for name in left if name.startswith(("diptych-watch", "diptych-alerts"))]


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=r"Ringing: lag_limit=.* Give seconds, above 0"):
        Module("bells").project(Ringing, lag_limit=seconds)
    with pytest.raises(ConfigurationError, match="Tuning: lag_limit"):
        App(tuning=Tuning(lag_limit=seconds))


def test_a_handler_that_is_not_async_is_refused_when_it_is_registered() -> None:
    """Not when the first alert is raised."""

    def page(change: AlertChange) -> Any:
        return change.alert.id

    with pytest.raises(ConfigurationError, match="page: it is told of alerts and is not async; write async def"):
        Module("bells").on_alert(page)
