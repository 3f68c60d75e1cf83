"""`db verify --rows` holds what sagas and reactions keep against the log: nothing is wrong until it is planted (S1)."""

import re
from pathlib import Path
from typing import Final

import apsw
import pytest

from diptych import App, new_id
from diptych.app.verifying import verify
from diptych.store.sqlite.fence import let_in
from diptych.subscriptions.duty import LANES
from diptych.subscriptions.lanes import lane_of
from tests.cli.fulfilling import poisoned, service
from tests.sagas.shop import AddStock, PayOrder, PlaceOrder

pytestmark = pytest.mark.anyio

_OTHER: Final = "01a22121-98ec-7000-9d5a-704d9fe3610f"


@pytest.fixture
async def filled(tmp_path: Path) -> App:
    """A store with one saga that waits, one that is stuck, and outcomes of a reaction; the service is stopped."""
    app, product = service(f"sqlite:///{tmp_path}/shop.db"), new_id()
    poisoned.clear()
    async with app:
        await app.commands.dispatch(AddStock(product_id=product, quantity=50))
        for is_paid in (False, True):
            order = new_id()
            await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=1))
            await app.settled()
            poisoned.add("paid")
            if is_paid:
                await app.commands.dispatch(PayOrder(order_id=order))
                await app.settled()
    poisoned.clear()
    return app


def plant(app: App, sql: str) -> None:
    """Change rows behind everybody's back."""
    connection = apsw.Connection(app.url.removeprefix("sqlite:///"))
    let_in(connection)
    (name,) = re.findall(r"\w+_(?:tasks|sagas)\b", sql)
    place = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ?", (f"{name}*",)).get
    connection.execute(sql.replace(name, f'"{place}"'))
    connection.close()


def silent(what: str, done: int, total: int) -> None:
    """Say nothing."""


async def test_nothing_is_found_where_nothing_is_wrong(filled: App) -> None:
    found = await verify(filled.url, filled, silent, rows=True)
    assert (list(found.audited.findings), list(found.not_checked)) == ([], [])


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE fulfilment_tasks SET lane = (lane + 1) % 4 WHERE kind = 'timer'", "timer PaymentDue of"),
        ("UPDATE fulfilment_tasks SET lane = (lane + 1) % 4 WHERE state = 'parked'", "nobody does it in its order"),
        ("DELETE FROM fulfilment_tasks WHERE kind = 'start'", "where it began is missing"),
        ("DELETE FROM send_receipt_tasks WHERE kind = 'start'", "send_receipt: the row that says where it began"),
        ("UPDATE fulfilment_sagas SET status = 'completed' WHERE status = 'running'", "its last event says running"),
        ("UPDATE fulfilment_sagas SET before = 'completed' WHERE status = 'stuck'", "its last event says running"),
        ("UPDATE fulfilment_sagas SET state = '{}' WHERE status = 'running'", "remembers something else"),
        ("UPDATE fulfilment_sagas SET lane = (lane + 1) % 4", "its row is in lane"),
        (
            f"UPDATE fulfilment_sagas SET id = '{_OTHER}' WHERE status = 'running'",
            "not under the id that its key makes",
        ),
        (
            f"UPDATE fulfilment_sagas SET id = '{_OTHER}', key = '{_OTHER}', lane = {lane_of(_OTHER, LANES)} "
            "WHERE status = 'running'",
            "no event in its stream",
        ),
    ],
)
async def test_what_is_planted_is_found(filled: App, sql: str, says: str) -> None:
    plant(filled, sql)
    found = await verify(filled.url, filled, silent, rows=True)
    assert [one.invariant for one in found.audited.findings if says in one.sentence] != []
