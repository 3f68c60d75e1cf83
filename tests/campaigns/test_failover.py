"""Fail-over: the primary is killed under load, the synchronous standby promoted, the unknown commands sent again."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from diptych.clock import new_id
from diptych.errors import DiptychError, StoreUnavailableError, UnknownOutcomeError
from diptych.store.batches import LaneMove, ViewBatch
from diptych.store.opening import open_stores
from diptych.store.protocols import Append, Appended, Head, StoreSettings, StreamWrite
from diptych.stream import ANY
from diptych.testing.contracts.view_rows import TALLIES
from tests.campaigns.client import COMMON, Client, InMemory, new_event, stream_name, whole_log
from tests.campaigns.failover import banking_over_fail_overs, in_vain, torture_over_fail_overs
from tests.campaigns.history import ANY_VERSION, History
from tests.campaigns.service import fail_over_under_load
from tests.campaigns.stores import store_at
from tests.campaigns.torture import Plan, assert_true
from tests.postgres import had_or_skipped
from tests.postgres_servers.pair import Pair, running_pair

pytestmark = [pytest.mark.anyio, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary with a synchronous standby."""
    with had_or_skipped(), running_pair() as pair:
        yield pair


async def test_an_app_goes_on_with_the_standby_and_nothing_is_lost_or_doubled(pair: Pair) -> None:
    """L1, C1, C3, P1 over four fail-overs, one of them with the standby cut off before COMMIT."""
    said = await banking_over_fail_overs(pair, 4, Random(1))

    assert "Unknown" in said, f"no command was in doubt, so nothing was shown: {said}"


async def test_rows_on_another_server_are_those_of_the_log_after_fail_overs(pair: Pair, postgres_url: str) -> None:
    """P1, R3: twice with the standby cut off, so that the end of the log is lost."""
    await banking_over_fail_overs(pair, 2, Random(2), views=postgres_url, cut_off_every=1)


async def test_the_history_of_a_store_over_fail_overs_is_true(pair: Pair) -> None:
    """L1 to L8, C1, C3: clients and readers of one store, judged as a whole."""
    await torture_over_fail_overs(pair, 3, Plan(1, clients=16, seed=5, outages=True))


async def test_the_order_service_goes_on_with_the_standby(pair: Pair, tmp_path: Path) -> None:
    """L1, C1, P1 over HTTP: with the same Idempotency-Key again after a 503, all orders are there, once; it says
    itself when it is not ready, and when it is again.
    """
    shoppers = await fail_over_under_load(pair, tmp_path / "log", 1, Random(1))

    assert shoppers.unavailable > 0
    assert shoppers.repeated == 0, "a service that has lost its server still answers"


async def test_no_answer_says_done_once_the_standby_is_not_waited_for(pair: Pair) -> None:
    """C3: neither an append nor "this command took effect" is answered when the server gave up on its standby."""
    store, recorder = store_at(pair.url()), InMemory()
    await store.open()
    try:
        client, command, random = Client("c", store, recorder), new_id(), Random(1)

        async def send() -> str:
            return (await client.append([(stream_name(1), ANY_VERSION, [new_event(random)])], command)).outcome

        pair.cut_off()
        answers = [await in_vain(pair, send()) for _ in range(2)]
        seen = (await store.head()).position
        pair.fail_over()
        outcomes = [await send() for _ in range(4)]
        log = await whole_log(store)
    finally:
        await store.close()

    assert answers == ["unknown", "unknown"]
    assert (seen, len(log)) == (1, 1)
    assert "stored" in outcomes
    assert outcomes[-1] == "duplicate"
    assert_true(History(recorder.operations, [], log))


async def test_an_old_primary_that_comes_back_takes_no_appends(pair: Pair) -> None:
    """L1: what it would take is not in the log that has gone on without it."""
    store = store_at(pair.url())
    await store.open()
    try:
        await store.append(_one_event(1))
        pair.fail_over()
        with suppress(UnknownOutcomeError, StoreUnavailableError):  # it learns that its connection is gone
            await store.append(_one_event(2))
        at = (await store.append(_one_event(3))).position
        pair.primary.kill()
        pair.standby.start()
        pair.standby.query("ALTER SYSTEM RESET synchronous_standby_names")
        pair.standby.query("SELECT pg_reload_conf()")
        with suppress(UnknownOutcomeError, StoreUnavailableError):
            await store.append(_one_event(4))
        with pytest.raises(StoreUnavailableError, match="is an old primary"):
            await store.append(_one_event(5))
        pair.standby.kill()
        pair.primary.start()
        again = await store.append(_one_event(6))
    finally:
        await store.close()

    assert again.position == at + 1


async def test_no_row_elsewhere_is_of_an_event_that_the_standby_may_not_have(pair: Pair, postgres_url: str) -> None:
    """R3: not while the server gave up on its standby, and not after the event was lost."""
    events, views, _ = open_stores(pair.url(), views=postgres_url)
    await events.open()
    await views.open([TALLIES], store_id=events.store_id)
    try:
        kept = await events.append(_one_event(1))
        pair.cut_off()

        async def commit(place: Head | Appended) -> str:
            expected = (await views.checkpoint("tallies")).position
            moves = [LaneMove(0, 0, expected)]
            return await _outcome(views.commit(ViewBatch("tallies", 1, moves, place.position, place.event_id)))

        told = [await in_vain(pair, _outcome(events.append(_one_event(2))))]
        lost = await events.head()
        told.append(await in_vain(pair, commit(lost)))
        pair.fail_over()
        for place in (lost, lost, kept):
            told.append(await commit(place))
        at = (await views.checkpoint("tallies")).position
    finally:
        await views.close()
        await events.close()

    assert lost.position == 2
    assert told[:2] == ["UnknownOutcomeError", "StoreUnavailableError"]
    assert told[-1] == "done"
    assert "done" not in told[:-1]
    assert at == 1


async def test_who_waits_for_the_standby_is_named_to_those_who_wait_for_the_log(pair: Pair) -> None:
    """X2: an append that its standby holds holds all others; they get a typed error, and go on after the fail-over."""
    holding, waiting = store_at(pair.url()), store_at(pair.url(), StoreSettings(lock_timeout=0.3))
    await holding.open()
    await waiting.open()
    try:
        await holding.append(_one_event(1))
        await waiting.append(_one_event(2))
        pair.cut_off()
        held = asyncio.create_task(holding.append(_one_event(3)))
        while pair.primary.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "":  # noqa: ASYNC110
            await asyncio.sleep(0.01)

        with pytest.raises(StoreUnavailableError, match=r"locked for 0.3 s by process \d+"):
            await waiting.append(_one_event(4))
        pair.fail_over()
        with pytest.raises(UnknownOutcomeError):
            await held
        again = await waiting.append(_one_event(5))
    finally:
        await waiting.close()
        await holding.close()

    assert again.position == 3


async def _outcome(work: Awaitable[object]) -> str:
    try:
        await work
    except DiptychError as error:
        return type(error).__name__
    return "done"


def _one_event(number: int) -> Append:
    return Append([StreamWrite(stream_name(number), ANY, [new_event(Random(number), COMMON)])])
