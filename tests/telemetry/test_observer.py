"""The seam: what an observer is told, once each, and that an app without one does nothing for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from diptych import App, new_id
from diptych.app.observed import traced
from diptych.errors import (
    CheckpointMovedError,
    CommandIdReusedError,
    DiptychError,
    DomainError,
    InvalidInputError,
    NotFoundError,
    StaleReadError,
    StoreFullError,
    UnknownOutcomeError,
    WrongExpectedVersionError,
)
from diptych.telemetry.observer import QUIET, Appending, Batch, Quiet, one_of, outcome_of
from tests.telemetry.listening import Listener, somebody_else
from tests.telemetry.tallies import Fail, GetTally, Meanwhile, PassOver, Raise, RaiseTwice, TooLowError, make_app

pytestmark = pytest.mark.anyio


@pytest.fixture
def meanwhile() -> Meanwhile:
    return Meanwhile()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def app(meanwhile: Meanwhile, listener: Listener, tmp_path: Path) -> AsyncIterator[App]:
    app = make_app(f"sqlite:///{tmp_path}/tallies.db", meanwhile)
    app.observe(listener)
    async with app:
        yield app


async def test_a_command_is_told_once_with_its_append(app: App, listener: Listener) -> None:
    await app.commands.dispatch(Raise(tally_id=new_id()))
    assert listener.of("command") == [("Raise", "committed")]
    assert listener.of("append") == [("sqlite", "committed")]
    (append,) = (work for work in listener.works if isinstance(work, Appending))
    assert (append.command, append.events, append.together) == ("Raise", 1, 1)
    assert append.seconds > 0


async def test_a_retry_is_one_command_and_two_appends(app: App, listener: Listener, meanwhile: Meanwhile) -> None:
    command = Raise(tally_id=new_id())
    meanwhile.happens = somebody_else(app, command)
    await app.commands.dispatch(command)
    assert listener.of("command") == [("Raise", "committed")]
    assert listener.of("append") == [("sqlite", "conflict"), ("sqlite", "committed")]


async def test_a_conflict_that_is_not_tried_again_is_the_commands(
    app: App, listener: Listener, meanwhile: Meanwhile
) -> None:
    command = Raise(tally_id=new_id())
    meanwhile.happens = somebody_else(app, command)
    with pytest.raises(WrongExpectedVersionError):
        await app.commands.dispatch(command, expected=0)
    assert listener.of("command") == [("Raise", "conflict")]


async def test_a_repetition_is_a_duplicate_and_appends_nothing(app: App, listener: Listener) -> None:
    """C1"""
    command, key = Raise(tally_id=new_id()), new_id()
    await app.commands.dispatch(command, command_id=key)
    await app.commands.dispatch(command, command_id=key)
    assert listener.of("command") == [("Raise", "committed"), ("Raise", "duplicate")]
    assert listener.of("append") == [("sqlite", "committed")]


@pytest.mark.parametrize(
    ("command", "error", "outcome"),
    [
        (Raise(tally_id=new_id(), by=-1), TooLowError, "rejected"),
        (Raise(tally_id=new_id(), note="bug"), RuntimeError, "failed"),
        (Raise(tally_id=new_id(), note="unknown"), UnknownOutcomeError, "unknown"),
    ],
)
async def test_a_failure_is_told_by_its_outcome(
    app: App, listener: Listener, command: Raise, error: type[Exception], outcome: str
) -> None:
    with pytest.raises(error):
        await app.commands.dispatch(command)
    assert listener.of("command") == [("Raise", outcome)]
    assert listener.of("append") == []
    assert isinstance(listener.works[0].error, error)


async def test_commands_inside_a_command_are_told_too(app: App, listener: Listener) -> None:
    await app.commands.dispatch(RaiseTwice(tally_id=new_id()))
    assert listener.of("command") == [("Raise", "committed"), ("Raise", "committed"), ("RaiseTwice", "committed")]


async def test_a_middleware_that_sends_again_is_inside_one_command(listener: Listener) -> None:
    app = make_app()
    app.observe(listener)

    def twice(following: Any) -> Any:
        async def dispatch(command: Any) -> Any:
            await following(command)
            return await following(command)

        return dispatch

    app.middleware(twice)
    async with app:
        await app.commands.dispatch(Raise(tally_id=new_id()))
    assert listener.of("command") == [("Raise", "duplicate")]


async def test_a_query_is_told_once_with_its_outcome(app: App, listener: Listener) -> None:
    tally_id = new_id()
    receipt = await app.commands.dispatch(Raise(tally_id=tally_id))
    await app.queries.dispatch(GetTally(tally_id=tally_id), after=receipt)
    await app.queries.answer(GetTally(tally_id=tally_id), after=receipt)
    with pytest.raises(NotFoundError):
        await app.queries.dispatch(GetTally(tally_id=new_id()))
    with pytest.raises(RuntimeError):
        await app.queries.dispatch(Fail())
    told = [("GetTally", "answered"), ("GetTally", "answered"), ("GetTally", "rejected"), ("Fail", "failed")]
    assert listener.of("query") == told


async def test_an_answer_that_is_stale_is_told_as_stale(app: App, listener: Listener) -> None:
    tally_id = new_id()
    await app.commands.dispatch(Raise(tally_id=tally_id))
    receipt = await app.commands.dispatch(Raise(tally_id=tally_id, note="poison"))
    await app.caught_up()
    answer = await app.queries.answer(GetTally(tally_id=tally_id), after=receipt)
    assert answer.reason == "parked"
    with pytest.raises(StaleReadError):
        await app.queries.dispatch(GetTally(tally_id=tally_id), after=receipt)
    assert listener.of("query") == [("GetTally", "stale"), ("GetTally", "stale")]


async def test_a_batch_is_told_once_though_a_key_of_it_is_parked(app: App, listener: Listener) -> None:
    """P7"""
    for note in ("", "poison", ""):
        await app.commands.dispatch(Raise(tally_id=new_id(), note=note))
    await app.caught_up()
    batches = [work for work in listener.works if isinstance(work, Batch)]
    assert {work.outcome for work in batches} == {"applied"}
    assert [row.position for work in batches for row in work.concerned()] == [1, 2, 3]


async def test_a_batch_that_cannot_be_written_is_failed(app: App, listener: Listener, monkeypatch: Any) -> None:
    commit = app.views.commit

    async def full(batch: Any) -> None:
        monkeypatch.setattr(app.views, "commit", commit)
        raise StoreFullError("full")

    monkeypatch.setattr(app.views, "commit", full)
    await app.commands.dispatch(Raise(tally_id=new_id()))
    await app.caught_up()
    assert listener.of("batch") == [("tallies", "failed"), ("tallies", "applied")]


async def test_events_of_others_are_no_noteworthy_batch(app: App, listener: Listener) -> None:
    await app.commands.dispatch(PassOver(tally_id=new_id()))
    await app.caught_up()
    assert [work.is_noteworthy for work in listener.works if isinstance(work, Batch)] == [False]


async def test_an_app_without_an_observer_runs_nothing_of_it() -> None:
    async with make_app() as app:
        assert app.observer is QUIET
        assert vars(app.queries).keys() == {"_routes"}
        assert app._command_routes._chain is None


async def test_a_bus_handed_out_before_the_start_is_observed_until_the_stop(listener: Listener) -> None:
    app = make_app()
    app.observe(listener)
    asked = app.queries
    async with app:
        with pytest.raises(NotFoundError):
            await asked.dispatch(GetTally(tally_id=new_id()))
    assert listener.of("query") == [("GetTally", "rejected")]
    assert listener.of("app") == [("", "started"), ("", "stopped")]
    assert vars(app.queries).keys() == {"_routes"}
    assert app.observer is QUIET


async def test_several_observers_are_all_told() -> None:
    first, second = Listener(), Listener()
    app = make_app()
    app.observe(first)
    app.observe(second)
    async with app:
        await app.commands.dispatch(Raise(tally_id=new_id()))
        await app.caught_up()
        app.observer.lease_changed("tallies", 3, "lost")
    assert sorted(first.told) == sorted(second.told)
    assert {kind for kind, _, _ in first.told} == {"app", "command", "append", "batch", "lease"}


def test_no_observer_is_the_quiet_one_and_one_is_itself() -> None:
    one = Quiet()
    assert one_of([]) is QUIET
    assert one_of([one]) is one


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DomainError("no"), "rejected"),
        (InvalidInputError("NUL"), "rejected"),
        (NotFoundError("none"), "rejected"),
        (CommandIdReusedError("Raise", "1"), "rejected"),
        (WrongExpectedVersionError("Tally-1", 1, 2), "conflict"),
        (CheckpointMovedError("tallies", 0, 1, 2), "conflict"),
        (StaleReadError(["tallies"], "behind", 1.0), "stale"),
        (UnknownOutcomeError("no answer"), "unknown"),
        (asyncio.CancelledError(), "unknown"),
        (StoreFullError("full"), "failed"),
        (DiptychError("else"), "failed"),
        (ValueError("bug"), "failed"),
    ],
)
def test_an_error_is_one_outcome_of_a_few(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome


@pytest.mark.parametrize("metadata", ["{}", '{"command":"1","user":"a}b"}'])
def test_the_trace_context_goes_beside_what_is_stored(metadata: str) -> None:
    assert json.loads(traced(metadata, "00-1-2-01")) == {**json.loads(metadata), "traceparent": "00-1-2-01"}
