"""The order service as its users see it: over HTTP, through the whole stack, without a single sleep."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from diptych import id_for
from examples.orders.main import make_api, make_app
from tests.urls import url_for

pytestmark = pytest.mark.anyio

ADA, TEAPOT, MUG = (str(id_for("story", name)) for name in ("ada", "teapot", "mug"))
HOME = {"street": "1 High Street", "city": "Leeds", "country": "United Kingdom"}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def client(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A shop with a customer, and plenty of teapots and mugs."""
    app = make_app(url_for(request, tmp_path))
    transport = httpx.ASGITransport(make_api(app))
    async with app, httpx.AsyncClient(transport=transport, base_url="http://shop/api/v1") as client:
        await posted(client, "/customers", {"customer_id": ADA, "name": "Ada", "address": HOME})
        for product, description in ((TEAPOT, "Teapot"), (MUG, "Mug")):
            await posted(client, "/products", {"product_id": product, "description": description})
            await posted(client, f"/products/{product}/stock", {"quantity": 100_000})
        yield client


async def posted(client: httpx.AsyncClient, path: str, body: object) -> httpx.Response:
    answer = await client.post(path, json=body)
    assert answer.is_success, answer.text
    return answer


def order(*items: tuple[str, int, str]) -> dict[str, object]:
    lines = [{"product_id": product, "quantity": quantity, "unit_price": price} for product, quantity, price in items]
    return {"customer_id": ADA, "items": lines, "shipping_address": HOME}


async def seen(client: httpx.AsyncClient, path: str, after: httpx.Response) -> Any:
    """Read what has certainly seen the answer's command (R1)."""
    answer = await client.get(path, headers={"Diptych-After": after.headers["diptych-position"]})
    assert answer.status_code == 200, answer.text
    assert "diptych-stale" not in answer.headers
    return answer.json()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("client", ["sqlite", "postgres"], indirect=True)
async def test_an_order_is_seen_by_the_next_read_a_thousand_times(client: httpx.AsyncClient) -> None:
    """R1: POST, then GET with the position it returned."""
    for number in range(1, 1001):
        created = await posted(client, "/orders", order((TEAPOT, 1, "23.50"), (MUG, 1, f"{number}.00")))
        found = await seen(client, created.headers["location"].removeprefix("/api/v1"), created)
        assert found["id"] == created.json()["order_id"]
        assert [line["unit_price"] for line in found["lines"]] == ["23.50", f"{number}.00"]


async def test_an_order_from_placed_to_delivered(client: httpx.AsyncClient) -> None:
    created = await posted(client, "/orders", order((TEAPOT, 2, "23.50")))
    path = f"/orders/{created.json()['order_id']}"
    assert created.status_code == 201
    added = await posted(client, f"{path}/items", {"item": {"product_id": MUG, "quantity": 6, "unit_price": "6.95"}})
    assert added.json() == {"line": 2}
    assert (await client.delete(f"{path}/items/1")).status_code == 204
    away = {"city": "Cork", "country": "Ireland"}
    assert (await client.put(f"{path}/shipping-address", json={"shipping_address": away})).status_code == 204
    for status in ("confirmed", "shipped"):
        assert (await client.put(f"{path}/status", json={"status": status})).status_code == 204
    last = await client.put(f"{path}/status", json={"status": "delivered"})

    found = await seen(client, path, last)
    assert (found["status"], found["total_amount"], found["shipping_address"]["city"]) == ("delivered", "41.70", "Cork")
    assert [(line["line"], line["description"]) for line in found["lines"]] == [(2, "Mug")]
    refused = await client.post(f"{path}/cancel", json={"reason": "too late"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "Cannot cancel a delivered order")


async def test_too_little_on_the_shelf_is_a_problem_with_status_400(client: httpx.AsyncClient) -> None:
    items = [(MUG, 100_000, "6.95"), (MUG, 1, "6.95")]
    answer = await client.post("/orders", json=order(*items))
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Insufficient inventory"


async def test_an_order_that_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/orders/{id_for('story', 'nothing')}")).status_code == 404


async def test_a_customer_s_orders_come_in_pages_by_number_and_by_cursor(client: httpx.AsyncClient) -> None:
    placed = [await posted(client, "/orders", order((MUG, 1, "6.95"))) for _ in range(5)]
    newest_first = [one.json()["order_id"] for one in reversed(placed)]
    await posted(client, f"/orders/{newest_first[0]}/cancel", {"reason": "second thoughts"})
    last = await posted(client, f"/customers/{ADA}/rename", {"name": "Ada Lovelace"})

    path = f"/orders?customer_id={ADA}"
    assert len((await seen(client, path, last))["items"]) == 5
    by_number = [await seen(client, f"{path}&page_size=2&page={page}", last) for page in (1, 2, 3)]
    assert [row["id"] for page in by_number for row in page["items"]] == newest_first
    first = by_number[0]
    second = await seen(client, f"{path}&page_size=2&cursor={first['next_cursor']}", last)
    assert second["items"] == by_number[1]["items"]
    pending = await seen(client, f"{path}&status=pending", last)
    assert [row["id"] for row in pending["items"]] == newest_first[1:]
    assert {row["customer_name"] for row in pending["items"]} == {"Ada Lovelace"}


async def test_what_is_taken_back_is_taken_off_every_total(client: httpx.AsyncClient) -> None:
    kept = await posted(client, "/orders", order((TEAPOT, 1, "23.50"), (MUG, 2, "6.95")))
    await client.delete(f"/orders/{kept.json()['order_id']}/items/2")
    off = await posted(client, "/orders", order((TEAPOT, 3, "20.00"), (TEAPOT, 1, "23.50"), (MUG, 1, "6.95")))
    await posted(client, f"/orders/{off.json()['order_id']}/cancel", {"reason": "second thoughts"})
    note = {"customer_id": ADA, "items": [{"product_id": TEAPOT, "quantity": 1, "unit_price": "3.50"}]}
    last = await posted(client, "/credit-notes", note)

    customer = await seen(client, f"/customers/{ADA}", last)
    assert (customer["orders"], customer["ordered"], customer["credited"]) == (1, "23.50", "3.50")
    best, other = await seen(client, "/products", last)
    assert (best["id"], best["quantity"], best["revenue"]) == (TEAPOT, 0, "20.00")
    assert (other["id"], other["quantity"], other["revenue"]) == (MUG, 0, "0.00")
    days = await seen(client, "/revenue", last)
    assert [(day["ordered"], day["credited"]) for day in days] == [("23.50", "3.50")]


async def test_the_same_idempotency_key_places_one_order(client: httpx.AsyncClient) -> None:
    """C1: a repetition is answered as the first time; C2: other fields under the same key are an error."""
    key, body = {"Idempotency-Key": "ada-1"}, order((MUG, 1, "6.95"))
    first = await client.post("/orders", json=body, headers=key)
    again = await client.post("/orders", json=body, headers=key)
    other = await client.post("/orders", json=order((MUG, 2, "6.95")), headers=key)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 422


async def test_who_asks_is_recorded_and_never_said_in_the_body(client: httpx.AsyncClient) -> None:
    """I4: a body that tries to set the user is refused."""
    answer = await client.post("/orders", json={**order((MUG, 1, "6.95")), "user_id": "eve"})
    assert answer.status_code == 422


async def test_a_change_with_an_old_version_is_refused(client: httpx.AsyncClient) -> None:
    created = await posted(client, "/orders", order((MUG, 1, "6.95")))
    path = f"/orders/{created.json()['order_id']}"
    shown = await client.get(path, headers={"Diptych-After": created.headers["diptych-position"]})
    tag = {"If-Match": shown.headers["etag"]}
    assert (await client.put(f"{path}/status", json={"status": "confirmed"}, headers=tag)).status_code == 204
    assert (await client.put(f"{path}/status", json={"status": "shipped"}, headers=tag)).status_code == 412
