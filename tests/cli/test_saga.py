"""`diptych saga` and `diptych reaction` as a shell sees them: what is on stdout, what on stderr, and the exit code."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import anyio
import pytest

from diptych import App, new_id
from diptych.cli.main import main
from diptych.messages import Envelope, with_envelope
from diptych.stream import StreamName
from tests.cli.fulfilling import FULFILLING, poisoned, service
from tests.sagas.shop import AddStock, PayOrder, PlaceOrder, Stock, shop_app
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Told(NamedTuple):
    """What came of what was typed."""

    code: int
    stdout: str
    stderr: str

    @property
    def rows(self) -> Any:
        """The answer, as JSON."""
        return json.loads(self.stdout)


class Desk:
    """A running service, and the shell in its folder."""

    def __init__(self, folder: Path, app: App) -> None:
        self.folder, self.app = folder, app

    async def types(self, *words: str) -> Told:
        """Type `diptych ...` beside the service, which goes on."""
        return await asyncio.to_thread(self._type, words)

    def _type(self, words: tuple[str, ...]) -> Told:
        out, err, code = StringIO(), StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, open(os.devnull) as nothing:
            patch.chdir(self.folder)
            patch.setenv("DIPTYCH_APP", "service.py")
            patch.setattr(sys, "argv", ["diptych", *words])
            patch.setattr(sys, "path", list(sys.path))
            patch.setattr(sys, "stdin", nothing)
            patch.delitem(sys.modules, "service", raising=False)
            with redirect_stdout(out), redirect_stderr(err):
                try:
                    main()
                except SystemExit as ended:
                    code = int(ended.code or 0)
            sys.modules.pop("service", None)
        return Told(code, out.getvalue(), err.getvalue())

    async def order(self, *, is_paid: bool = False) -> UUID:
        """Place an order, and wait until nothing moves any more."""
        order, product = new_id(), new_id()
        await self.app.commands.dispatch(AddStock(product_id=product, quantity=5))
        await self.app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
        await self.app.settled()
        if is_paid:
            await self.app.commands.dispatch(PayOrder(order_id=order))
            await self.app.settled()
        return order


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """The shop of `fulfilling.py`, running."""
    (tmp_path / "service.py").write_text(FULFILLING.format(url="sqlite:///shop.db"))
    poisoned.clear()
    async with service(f"sqlite:///{tmp_path}/shop.db") as app:
        yield Desk(tmp_path, app)
    poisoned.clear()


async def test_list_has_a_line_for_each_class_and_one_for_each_saga(desk: Desk) -> None:
    order = await desk.order()
    told = await desk.types("saga", "list", "--json")
    assert told.code == 0, told.stderr
    (line,) = told.rows
    assert (line["name"], line["state"], line["timers"], line["waiting"]) == ("Fulfilment", "caught up", 1, 0)
    told = await desk.types("saga", "list", "Fulfilment", "--json")
    assert [(one["key"], one["status"]) for one in told.rows] == [(str(order), "running")]
    assert told.rows[0]["next_timer"].startswith("PaymentDue at ")
    assert (await desk.types("saga", "list", "--status", "completed", "--json")).rows == []


async def test_show_tells_each_step_what_it_sent_and_which_timers_are_to_come(desk: Desk) -> None:
    order = await desk.order()
    told = await desk.types("saga", "show", "Fulfilment", str(order), "--json")
    assert told.code == 0, told.stderr
    (shown,) = told.rows
    assert [step["cause"].split(" at ")[0] for step in shown["steps"]] == ["event OrderPlaced", "event StockReserved"]
    assert [(one["command"], one["state"]) for one in shown["steps"][0]["sent"]] == [("ReserveStock", "done")]
    assert [one["timeout"] for one in shown["timers"]] == ["PaymentDue"]
    assert shown["state"]["is_reserved"] is True


async def test_a_tenants_saga_is_named_with_its_tenant(desk: Desk) -> None:
    order, product = new_id(), new_id()
    for command in (
        AddStock(product_id=product, quantity=5),
        PlaceOrder(order_id=order, product_id=product, quantity=2),
    ):
        await desk.app.commands._routes.dispatch(with_envelope(command, Envelope(None, tenant="acme"), is_first=True))
    await desk.app.settled()
    (line,) = (await desk.types("saga", "list", "Fulfilment", "--json")).rows
    assert line["key"] == f"tenant:acme/{order}"
    (shown,) = (await desk.types("saga", "show", "Fulfilment", line["key"], "--json")).rows
    assert [one["timeout"] for one in shown["timers"]] == ["PaymentDue"]
    assert len(shown["steps"]) == 2
    assert (await desk.types("saga", "show", "Fulfilment", str(order))).code == 2
    told = await desk.types("trace", "2", "--json")
    assert [one["kind"] for one in told.rows].count("saga") == 2, told
    assert (await desk.types("db", "verify")).code == 0


async def test_what_is_tried_again_is_shown_with_its_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that failed so far was waiting, and nobody could see why."""
    monkeypatch.setattr(Stock, "reserve", broken_reserve)
    order = new_id()
    await desk.app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=2))
    with anyio.fail_after(15):
        while not (await desk.app.status()).duties[0].retried:  # noqa: ASYNC110 - it is looked at, not told
            await asyncio.sleep(0.01)
    (shown,) = (await desk.types("saga", "show", "Fulfilment", str(order), "--json")).rows
    assert [(one["name"], one["error"]) for one in shown["to_do"]] == [
        ("ReserveStock", "OSError: the shelf is not there")
    ]
    assert "the shelf is not there" in (await desk.types("saga", "show", "Fulfilment", str(order))).stdout


def broken_reserve(self: Stock, order_id: UUID, quantity: int) -> None:
    """Fail by a fault."""
    raise OSError("the shelf is not there")


async def test_a_stuck_saga_is_shown_and_goes_on_when_it_is_mended(desk: Desk) -> None:
    poisoned.add("paid")
    order = await desk.order(is_paid=True)
    told = await desk.types("saga", "list", "--stuck")
    assert told.code == 1
    assert "poison" in told.stdout
    told = await desk.types("saga", "show", "Fulfilment", str(order))
    assert told.code == 1
    assert f"diptych saga retry Fulfilment {order}" in told.stderr
    told = await desk.types("saga", "retry", "Fulfilment", str(order), "--dry-run")
    assert (told.code, told.stdout) == (0, "")
    assert "1 task of 1 key" in told.stderr
    assert (await desk.types("saga", "retry", "Fulfilment", str(order))).code == 4
    poisoned.clear()
    told = await desk.types("saga", "retry", "Fulfilment", "--reason", "mended")
    assert (told.code, told.stdout) == (0, "1 tried again\n"), told.stderr
    await desk.app.settled()
    assert (await desk.types("saga", "show", "Fulfilment", str(order), "--json")).rows[0]["status"] == "completed"


async def test_skip_asks_first_and_leaves_out_what_failed(desk: Desk) -> None:
    poisoned.add("paid")
    order = await desk.order(is_paid=True)
    told = await desk.types("saga", "skip", "Fulfilment", str(order), "--reason", "by hand")
    assert told.code == 3
    assert "--yes" in told.stderr
    told = await desk.types("saga", "skip", "Fulfilment", str(order), "--reason", "by hand", "--yes")
    assert (told.code, told.stdout) == (0, "0 tried again, 1 left out\n"), told.stderr
    shown = (await desk.types("saga", "show", "Fulfilment", str(order), "--json")).rows[0]
    assert (shown["status"], shown["requests"][0]["reason"]) == ("running", "by hand")


async def test_a_reaction_tells_its_outcomes_and_is_retried_and_skipped(desk: Desk) -> None:
    poisoned.add("receipt")
    order, other = await desk.order(), await desk.order()
    told = await desk.types("reaction", "list", "--json")
    assert told.code == 1
    (line,) = told.rows
    assert (line["name"], line["state"], line["parked"]) == ("send_receipt", "parked", 2)
    told = await desk.types("reaction", "show", "send_receipt", str(order), "--json")
    assert [(one["outcome"], one["name"]) for one in told.rows[0]["outcomes"]] == [("parked", "OrderPlaced")]
    told = await desk.types("reaction", "skip", "send_receipt", str(other), "--reason", "no mail", "--yes")
    assert told.code == 0, told.stderr
    poisoned.clear()
    told = await desk.types("reaction", "retry", "send_receipt")
    assert told.code == 0, told.stderr
    outcomes = (await desk.types("reaction", "show", "send_receipt", "--json")).rows[0]["outcomes"]
    assert {one["key"]: one["outcome"] for one in outcomes} == {str(order): "done", str(other): "skipped"}


async def test_a_saga_stands_and_goes_on(desk: Desk) -> None:
    """What it would do waits, and is done once; commands go on."""
    told = await desk.types("saga", "pause", "Fulfilment", "--dry-run")
    assert (told.code, told.stderr) == (0, "Fulfilment would stand until `diptych saga resume Fulfilment`.\n")
    told = await desk.types("saga", "pause", "Fulfilment", "--reason", "the shop moves")
    assert told.code == 0, told.stderr
    assert "Go on with: diptych saga resume Fulfilment" in told.stderr
    (keeper,) = [one for one in desk.app._started().duties.keepers if one.duty.name == "Fulfilment"]
    await until(lambda: all(work.is_paused for work in keeper.works.values()), 15)
    order, product = new_id(), new_id()
    await desk.app.commands.dispatch(AddStock(product_id=product, quantity=5))
    await desk.app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
    (line,) = (await desk.types("saga", "list", "--json")).rows
    assert (line["state"], line["lag_events"]) == ("paused", 1)
    assert line["error"].startswith("the shop moves (")
    assert line["error"].endswith("). Go on with: diptych saga resume Fulfilment")
    told = await desk.types("saga", "resume", "Fulfilment")
    assert (told.code, told.stderr) == (0, "Fulfilment goes on.\n")
    await desk.app.settled(15)
    (line,) = (await desk.types("saga", "list", "Fulfilment", "--json")).rows
    assert (line["key"], line["status"]) == (str(order), "running")


async def test_a_reaction_stands_for_a_while(desk: Desk) -> None:
    told = await desk.types("reaction", "pause", "send_receipt", "--for", "1h")
    assert told.stderr == (
        "send_receipt stands for 1h; what was begun ends. Go on with: diptych reaction resume send_receipt\n"
    )
    (line,) = (await desk.types("reaction", "list", "--json")).rows
    assert line["state"] == "paused"
    requests = (await desk.types("reaction", "show", "send_receipt", "--json")).rows[0]["requests"]
    assert [(one["verb"], one["outcome"]) for one in requests] == [("pause", "paused for 3600 s")]
    assert (await desk.types("reaction", "resume", "send_receipt")).code == 0
    (line,) = (await desk.types("reaction", "list", "--json")).rows
    assert line["state"] == "caught up"


async def test_show_says_after_which_position_a_reaction_began(tmp_path: Path) -> None:
    """P9: what was there before is none of its business, and no outcome of its own."""
    async with shop_app(f"sqlite:///{tmp_path}/shop.db") as app:
        await app.commands.dispatch(AddStock(product_id=new_id(), quantity=5))
    (tmp_path / "service.py").write_text(FULFILLING.format(url="sqlite:///shop.db"))
    async with service(f"sqlite:///{tmp_path}/shop.db") as app:
        told = await Desk(tmp_path, app).types("reaction", "show", "send_receipt")
    assert "It began after position 1; what was there before was none of its business." in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["projection", "pause", "Fulfilment"], "Fulfilment is a saga. Type: diptych saga --help"),
        (["saga", "pause", "send_receipt"], "send_receipt is a reaction. Type: diptych reaction show send_receipt"),
        (["reaction", "resume", "x"], "There is no reaction x. There are: send_receipt."),
        (["saga", "show", "Fulfilled", "x"], "There is no saga Fulfilled. There are: Fulfilment."),
        (["saga", "retry", "send_receipt"], "send_receipt is a reaction. Type: diptych reaction show send_receipt"),
        (["saga", "show", "Fulfilment", "x"], "List them: diptych saga list Fulfilment"),
        (["saga", "retry", "Fulfilment", "x"], "nothing of x is parked"),
        (["reaction", "skip", "send_receipt", "x", "--reason", "r"], "Look: diptych reaction list send_receipt"),
    ],
)
async def test_a_refusal_says_what_to_type(desk: Desk, words: list[str], said: str) -> None:
    told = await desk.types(*words)
    assert told.code == 2
    assert said in told.stderr


async def test_status_has_a_line_for_each_and_exits_1_when_one_is_parked(desk: Desk) -> None:
    told = await desk.types("status", "--json")
    assert told.code == 0, told.stderr
    assert [(one["projection"], one["mode"], one["state"]) for one in told.rows] == [
        ("Fulfilment", "saga", "caught up"),
        ("send_receipt", "reaction", "caught up"),
    ]
    poisoned.add("paid")
    await desk.order(is_paid=True)
    told = await desk.types("status")
    assert told.code == 1
    assert "Once it is mended: diptych saga retry Fulfilment" in told.stderr


async def test_trace_follows_a_conversation_through_the_steps_of_sagas(desk: Desk) -> None:
    """S1: what a step sent is of the same conversation, and says which event it came of."""
    order = await desk.order()
    (placed,) = await desk.app.events.read_stream(StreamName("", "Order", order))
    told = await desk.types("trace", str(placed.position), "--json")
    assert told.code == 0, told.stderr
    steps = {step["name"]: step for step in told.rows if step["kind"] != "command"}
    assert list(steps) == [
        "OrderPlaced",
        "event OrderPlaced -> ReserveStock",
        "StockReserved",
        "event StockReserved -> -",
    ]
    (command,) = [step for step in told.rows if step["name"] == "ReserveStock"]
    assert command["caused_by"] == str(UUID(bytes=placed.event_id))
    assert steps["event OrderPlaced -> ReserveStock"]["caused_by"] == str(UUID(bytes=placed.event_id))


async def test_describe_lists_sagas_and_reactions_with_what_they_take(desk: Desk) -> None:
    told = await desk.types("describe", "--json")
    assert told.code == 0, told.stderr
    lines = {(row["kind"], row["name"]): row["detail"] for row in told.rows}
    assert lines["saga", "Fulfilment"].startswith("begins with OrderPlaced; takes ")
    assert "timeouts PaymentDue; rejections of ReserveStock" in lines["saga", "Fulfilment"]
    assert lines["reaction", "send_receipt"] == "OrderPlaced (from the head, 1 attempts)"


async def test_an_app_without_sagas_knows_the_steps_of_those_it_had(desk: Desk) -> None:
    await desk.order()
    (desk.folder / "service.py").write_text(
        'from tests.sagas.shop import shop\nfrom diptych import App\napp = App("sqlite:///shop.db")\napp.include(shop())\n'
    )
    told = await desk.types("event", "stats", "--json")
    assert told.code == 0, told.stderr
    assert "diptych.saga.stepped" in {row["type"] for row in told.rows}
