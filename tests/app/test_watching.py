"""The watch over projections: records that several processes agree on, from statuses that are made up."""

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.app.sinks import Sinks
from diptych.app.status import Status
from diptych.app.watching import Rounds, Watch, Watched
from diptych.errors import StoreUnavailableError
from diptych.store.alerts import AlertChange, Firing
from diptych.store.batches import LaneMove, ParkedEvent
from diptych.store.leases import Worker
from diptych.store.protocols import StoreSettings, ViewStore
from diptych.store.sqlite.views import SqliteViewStore, views_file
from diptych.testing.contracts.view_rows import STORE, TALLIES, batch
from tests.app.statuses import FROZEN, HANGING, LATE, PARKED, STOPPED, status
from tests.waiting import until

pytestmark = pytest.mark.anyio

LONG = 60.0
LIMIT = 30.0
TAKEN = frozenset({1})  # the one generation of these stores


class Process:
    """One process: its own store, on the file of all; what its projections are like; and what it changed."""

    def __init__(self, name: str, views: ViewStore) -> None:
        self.name, self.views, self.told, self.now = name, views, list[AlertChange](), 0.0
        self.head, self.looked = 40, 0
        self.is_away = False
        self._changes: dict[str, Any] = {}
        watched = Watched(self._measure, {"tallies": LIMIT}, name)
        self.watch = Watch(watched, views, Sinks([]), Rounds(0.01, 0.0), lambda: self.now)

    async def _measure(self) -> Status:
        self.looked += 1
        if self.is_away:
            raise StoreUnavailableError("shop.db is locked by another program")
        return Status(self.head, (status(**self._changes),))

    async def looks(self, **changes: Any) -> list[tuple[str, str]]:
        """See this, look, and return what it changed."""
        self._changes = changes
        made = await self.watch.look()
        self.told += made
        return [(one.change, one.alert.kind) for one in made]

    async def works(self, *, takes: frozenset[int] = TAKEN, owns: bool = True) -> None:
        await self.views.leases.beat(Worker(self.name, "", takes), LONG)
        if owns:
            assert await self.views.leases.claim(self.name, "tallies", 1, [0])

    async def ends(self) -> None:
        await self.views.leases.leave(self.name)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[[str], Any]]:
    """Starts processes on one file."""
    made: list[SqliteViewStore] = []

    async def start(name: str) -> Process:
        views = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings())
        made.append(views)
        await views.open([TALLIES], store_id=STORE)
        return Process(name, views)

    yield start
    for views in made:
        await views.close()


@pytest.fixture
async def ada(start: Callable[[str], Any]) -> Process:
    """A process that works on the projection."""
    process: Process = await start("ada")
    await process.works()
    return process


@pytest.fixture
async def bob(ada: Process, start: Callable[[str], Any]) -> Process:
    """Another, which does not own its lane."""
    process: Process = await start("bob")
    await process.works(owns=False)
    return process


async def test_an_alert_is_raised_updated_and_resolved(ada: Process) -> None:
    assert await ada.looks() == []
    assert await ada.looks(**LATE) == [("raised", "lag")]
    assert await ada.looks(**LATE) == []
    assert await ada.looks(**{**LATE, "lag_seconds": 47.0}) == [("updated", "lag")]
    assert await ada.looks() == [("resolved", "lag")]
    assert [(one.change, one.alert.message[:24]) for one in ada.told] == [
        ("raised", "tallies is 42.0 s behind"),
        ("updated", "tallies is 47.0 s behind"),
        ("resolved", "tallies is 47.0 s behind"),
    ]


async def test_its_trend_is_measured_between_looks(ada: Process) -> None:
    ada.now, ada.head = 100.0, 40
    await ada.looks(**LATE)
    ada.now, ada.head = 110.0, 90
    await ada.looks(lag_seconds=52.0, lag_events=52, position=38)
    assert "1.0 events a second are applied and 5.0 arrive: it will never catch up" in ada.told[-1].alert.message
    ada.now = 120.0
    await ada.looks(lag_seconds=50.0, lag_events=2, position=88)
    assert "it will have caught up in 4.0 s" in ada.told[-1].alert.message


async def test_what_two_processes_see_is_raised_and_resolved_once(ada: Process, bob: Process) -> None:
    for changes in (LATE, LATE, {}):
        for process in (ada, bob):
            process.now += 5.0
            await process.looks(**changes)
    told = [one for process in (ada, bob) for one in process.told]
    assert sorted(one.change for one in told if one.change != "updated") == ["raised", "resolved"]
    assert len({one.alert.id for one in told}) == 1


async def test_who_measures_a_little_less_does_not_resolve_it(ada: Process, bob: Process) -> None:
    """Positions of lanes elsewhere are known a second late: near the limit, processes differ."""
    assert await ada.looks(**{**LATE, "lag_seconds": LIMIT + 0.1}) == [("raised", "lag")]
    assert ("resolved", "lag") not in await bob.looks(**{**LATE, "lag_seconds": LIMIT - 0.9})
    assert await bob.looks(**{**LATE, "lag_seconds": LIMIT / 2}) == [("resolved", "lag")]


@pytest.mark.parametrize(("changes", "kind"), [(STOPPED, "stopped"), (HANGING, "dead")])
async def test_what_one_process_sees_of_itself_is_resolved_by_it(
    ada: Process, bob: Process, changes: dict[str, Any], kind: str
) -> None:
    assert await ada.looks(**changes) == [("raised", kind)]
    assert await bob.looks() == []
    assert await ada.looks(**changes) == []
    assert await ada.looks() == [("resolved", kind)]


@pytest.mark.parametrize(("changes", "kind"), [(STOPPED, "stopped"), (HANGING, "dead")])
async def test_what_its_worker_has_told_is_not_told_again_as_lag_by_who_only_answers(
    ada: Process, start: Callable[[str], Any], changes: dict[str, Any], kind: str
) -> None:
    """One cause, one alert: else the one would raise what the other resolves, every few seconds."""
    web: Process = await start("")
    assert await ada.looks(**changes) == [("raised", kind)]
    for _ in range(2):
        assert await web.looks(**LATE) == []
        assert ("resolved", "lag") not in await ada.looks(**changes)
    await ada.ends()
    assert ("raised", "lag") in await web.looks(**LATE)


@pytest.mark.parametrize("changes", [STOPPED, HANGING])
async def test_of_a_process_that_ended_the_others_resolve_it(
    ada: Process, bob: Process, changes: dict[str, Any]
) -> None:
    await ada.looks(**changes)
    await ada.ends()
    await bob.works()
    assert [change for change, _ in await bob.looks()] == ["resolved"]


async def test_parked_keys_are_those_of_all_processes(ada: Process, bob: Process) -> None:
    """Each knows only of the keys in its own lanes."""
    events = [ParkedEvent("a", 12, "boom"), ParkedEvent("b", 14, "bang"), ParkedEvent("a", 15, "")]
    (lane,) = (await ada.views.leases.board()).lanes
    await ada.views.commit(
        batch(TALLIES, to=15, generation=1, parked=events)._replace(moves=[LaneMove(0, lane.epoch, 0)])
    )
    assert await bob.looks() == []
    assert await ada.looks(**PARKED) == [("raised", "parked")]
    assert ada.told[0].alert.message.startswith("tallies has 2 parked keys since position 12: boom. ")
    assert await bob.looks() == []
    again = batch(TALLIES, at=15, to=16, generation=1, unparked=["a", "b"])
    await ada.views.commit(again._replace(moves=[LaneMove(0, lane.epoch, 15)]))
    assert await bob.looks() == [("resolved", "parked")]


async def test_a_projection_that_nobody_works_on_is_dead_after_a_while(ada: Process, bob: Process) -> None:
    """It is not dead between one worker and the next."""
    await ada.ends()
    assert await bob.looks() == []
    bob.now = LIMIT - 1
    assert await bob.looks() == []
    bob.now = LIMIT + 1
    assert await bob.looks() == [("raised", "dead")]
    ada.now = 1000.0
    assert await ada.looks() == []  # who has just begun to look knows of no time before, and leaves the record
    await bob.works()
    assert await ada.looks() == [("resolved", "dead")]


async def test_a_gap_between_two_workers_is_forgotten(ada: Process, bob: Process) -> None:
    await ada.ends()
    await bob.looks()
    await bob.works()
    bob.now = 20.0
    await bob.looks()
    await bob.ends()
    bob.now = LIMIT + 1
    assert await bob.looks() == []


async def test_rows_that_other_code_still_works_on_are_not_frozen(ada: Process, bob: Process) -> None:
    """A rolling deploy: the old process goes on while the new one has nothing that fits."""
    await bob.works(takes=frozenset(), owns=False)
    assert await bob.looks(**FROZEN) == []
    await ada.ends()
    assert await bob.looks(**FROZEN) == [("raised", "frozen")]


async def test_a_process_that_works_on_nothing_tells_what_all_can_see(start: Callable[[str], Any]) -> None:
    """The web processes of a service whose workers are elsewhere, and gone."""
    web: Process = await start("")
    assert await web.looks(**HANGING, **LATE) == [("raised", "lag")]
    web.now = LIMIT + 1
    assert ("raised", "dead") in await web.looks(**STOPPED)
    assert {one.alert.kind for one in web.told} == {"lag", "dead"}


async def test_records_of_other_projections_are_left_alone(ada: Process) -> None:
    """Another service may keep its rows here, or newer code."""
    await ada.views.alerts.reconcile([Firing("others", "lag", "behind")], ["others"], update_after=0)
    assert await ada.looks() == []
    assert [one.projection for one in await ada.views.alerts.recent(is_open=True)] == ["others"]


async def test_while_the_store_is_away_nothing_is_resolved_and_one_line_is_logged(
    ada: Process, caplog: pytest.LogCaptureFixture
) -> None:
    await ada.looks(**LATE)
    ada.is_away = True
    caplog.clear()
    caplog.set_level(logging.INFO, "diptych.alerts")
    ada.watch.start()
    await until(lambda: caplog.messages)
    since = ada.looked
    await until(lambda: ada.looked > since + 2)
    ada.is_away = False
    await until(lambda: len(caplog.messages) == 2)
    await ada.watch.stop()
    assert caplog.messages == [
        "The projections cannot be watched: shop.db is locked by another program",
        "The projections can be watched again.",
    ]
    assert [one.kind for one in await ada.views.alerts.recent(is_open=True)] == ["lag"]
