"""What the app says of its sagas and reactions: how far, what is parked, and what to type."""

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from diptych import App, Clock, FixedClock, Metadata, new_id
from diptych.app.duty_firing import makes_unready, wrong_with_duty
from diptych.app.duty_status import DutyStatus
from diptych.app.sinks import Sinks
from diptych.app.watching import Watch, Watched
from diptych.web import install
from tests.cli.fulfilling import poisoned, service
from tests.sagas.shop import AddStock, OrderPlaced, PayOrder, PlaceOrder, shop
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def order(app: App, *, is_paid: bool) -> None:
    """Place an order, and wait until nothing moves any more."""
    order, product = new_id(), new_id()
    await app.commands.dispatch(AddStock(product_id=product, quantity=5))
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
    await app.settled()
    if is_paid:
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()


@pytest.mark.parametrize("store", ["memory", "sqlite", "postgres"])
async def test_status_says_how_far_each_is_and_what_is_stuck(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.param = store
    poisoned.clear()
    async with service(url_for(request, tmp_path)) as app:
        await order(app, is_paid=False)
        status = await app.status()
        assert [(one.name, one.state, one.timers, one.lag_events) for one in status.duties] == [
            ("Fulfilment", "caught up", 1, 0),
            ("send_receipt", "caught up", 0, 0),
        ]
        assert status.problems == ()
        poisoned.add("paid")
        await order(app, is_paid=True)
        status = await app.status()
        poisoned.clear()
        (problem,) = status.problems
        assert "poison" in problem
        assert problem.endswith("diptych saga retry Fulfilment")
        assert (status.duties[0].parked, status.duties[0].stuck) == (1, 1)


async def test_what_is_parked_makes_health_red_and_raises_an_alert_that_is_resolved() -> None:
    poisoned.clear()
    app, api = service("memory:"), FastAPI()
    install(app, api)
    poisoned.add("receipt")
    transport = httpx.ASGITransport(app=api)
    async with app, httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        watch = Watch(Watched(app.status, app.lag_limits, ""), app.views, Sinks([]))
        assert await watch.look() == []
        await order(app, is_paid=False)
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert "diptych reaction retry send_receipt" in answer.json()["detail"]
        (change,) = await watch.look()
        assert (change.change, change.alert.projection, change.alert.kind) == ("raised", "send_receipt", "parked")
        poisoned.clear()
        await app.events.inline.leases.ask("send_receipt", "retry")
        while (await app.status()).problems:
            await app.settled()
        assert [one.change for one in await watch.look()] == ["resolved"]
        assert (await client.get("/health/ready")).status_code == 200


LATE = DutyStatus("orders", "publication", "behind", lag_events=3, lag_seconds=31.0)


@pytest.mark.parametrize(
    ("one", "kinds"),
    [
        (LATE, ["lag"]),
        (DutyStatus("orders", "publication", "behind", lag_seconds=29.0), []),
        (DutyStatus("f", "saga", "behind", late_seconds=31.0), ["lag"]),
        (DutyStatus("f", "saga", "parked", parked=2, lag_seconds=99.0, error="boom"), ["parked"]),
        (DutyStatus("f", "saga", "stopped", lag_seconds=99.0, error="boom"), ["stopped"]),
        (DutyStatus("orders", "publication", "away", lag_seconds=3.0, error="no servers"), []),
        (DutyStatus("orders", "publication", "away", lag_seconds=31.0, error="no servers"), ["lag"]),
        (DutyStatus("orders", "inbox", "away", error="no servers"), ["lag"]),
    ],
)
async def test_one_cause_is_one_alert(one: DutyStatus, kinds: list[str]) -> None:
    found = wrong_with_duty(one, 30.0)
    assert [each.kind for each in found] == kinds
    assert all("diptych saga" in each.message or "diptych reaction" in each.message for each in found)


async def test_who_measures_a_little_less_does_not_resolve_an_alert() -> None:
    less = DutyStatus("orders", "publication", "behind", lag_seconds=16.0)
    assert [each.kind for each in wrong_with_duty(less, 30.0, {"lag"})] == ["lag"]
    assert wrong_with_duty(less, 30.0) == []


async def test_a_broker_that_is_away_takes_no_request_away() -> None:
    """D3"""
    assert not makes_unready(DutyStatus("orders", "publication", "away", lag_seconds=999.0, error="no servers"))
    assert not makes_unready(LATE)


@pytest.mark.parametrize("store", ["memory", "sqlite", "postgres"])
async def test_what_hangs_is_behind_and_raises_an_alert(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It was taken in, so that nothing of the log was behind, and the reaction stood as caught up."""
    request.param = store
    app, clock, gate, begun = App(url_for(request, tmp_path)), FixedClock(), asyncio.Event(), list[str]()
    app.include(shop())
    app.provide(Clock, clock)

    @app.reaction
    async def send_receipt(event: OrderPlaced, meta: Metadata) -> None:
        begun.append(str(meta.stream.id))
        await gate.wait()

    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await until(lambda: begun)
        (one,) = (await app.status()).duties
        assert (one.state, one.waiting, one.error) == ("caught up", 1, None)
        clock.advance(timedelta(seconds=40))
        (one,) = (await app.status()).duties
        assert (one.state, one.undone_seconds) == ("behind", 40)
        assert one.error == f"OrderPlaced of {begun[0]} is not done yet"
        (wrong,) = wrong_with_duty(one, 30.0)
        assert wrong.message == (
            "send_receipt: its oldest task is due for 40.0 s (limit 30 s): "
            f"OrderPlaced of {begun[0]} is not done yet. Type: diptych reaction list"
        )
        gate.set()
        await app.settled()
        (one,) = (await app.status()).duties
        assert (one.state, one.undone_seconds) == ("caught up", 0)


async def test_what_fails_again_and_again_says_why() -> None:
    app, clock, tried = App("memory:"), FixedClock(), list[str]()
    app.include(shop())
    app.provide(Clock, clock)

    @app.reaction
    async def send_receipt(event: OrderPlaced) -> None:
        tried.append("once")
        if tried == ["once"]:
            raise OSError("no route to the mail server")
        await asyncio.Event().wait()

    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await until(lambda: len(tried) == 2)
        clock.advance(timedelta(seconds=40))
        (one,) = (await app.status()).duties
    assert one.state == "behind"
    assert str(one.error).endswith("is not done, and is tried again: OSError: no route to the mail server")
