"""Order events from a seeded generator, about 200 bytes of JSON each, and what their fold must come to.

Rule: knows neither Diptych nor the raw twin; both are fed from here.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

CREATED: Final = "bench.order_created"
ITEM_ADDED: Final = "bench.order_item_added"
SHIPPED: Final = "bench.order_shipped"

EVENTS_PER_ORDER: Final = 10

_PRODUCTS: Final = (
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "SET OF 3 CAKE TINS PANTRY DESIGN",
    "JUMBO BAG RED RETROSPOT WITH ZIP",
    "ASSORTED COLOUR BIRD ORNAMENT",
    "REGENCY CAKESTAND THREE TIER",
    "PACK OF 72 RETROSPOT CAKE CASES",
)
_FINISHES: Final = (
    "hand painted, in a box of its own with a ribbon",
    "second choice, slight marks on the back, not returnable",
    "from the spring collection, delivered flat in recycled paper",
)
_FLOORS: Final = ("third floor, ring twice", "back entrance beside the bakery", "leave with the neighbours at 14")
_STREETS: Final = ("12 Harbour Street", "7 Orchard Lane", "221 Baker Street", "3 Old Mill Road", "48 Station Approach")
_CITIES: Final = (("London", "NW1 6XE"), ("Utrecht", "3511 AB"), ("Lisbon", "1100-148"), ("Leeds", "LS1 4DY"))
_DAY: Final = datetime(2026, 11, 23, tzinfo=UTC)


class Fact(NamedTuple):
    """One event before any framework sees it: its order, its stored name, its fields as JSON knows them."""

    order_id: UUID
    name: str
    fields: dict[str, object]


class Summary(NamedTuple):
    """One row of `order_summary` as it must come out."""

    order_id: UUID
    customer_id: UUID
    status: str
    total_amount: Decimal
    item_count: int


def _uuid(source: random.Random) -> UUID:
    return UUID(int=source.getrandbits(128), version=4)


def order_ids(count: int, seed: int = 1) -> list[UUID]:
    """Return the ids of `count` orders; the same for the same seed."""
    source = random.Random(seed)
    return [_uuid(source) for _ in range(count)]


def created(source: random.Random) -> dict[str, object]:
    """The fields of an order's first event."""
    city, postal_code = source.choice(_CITIES)
    street = f"{source.choice(_STREETS)}, {source.choice(_FLOORS)}"
    address = {"street": street, "postal_code": postal_code, "city": city, "country": "GB"}
    return {"customer_id": str(_uuid(source)), "shipping_address": address}


def item_added(source: random.Random) -> dict[str, object]:
    """The fields of an item added to an order."""
    return {
        "product_id": str(_uuid(source)),
        "description": f"{source.choice(_PRODUCTS)}, {source.choice(_FINISHES)}",
        "quantity": source.randint(1, 12),
        "unit_price": f"{source.randint(25, 4995) / 100:.2f}",
    }


def shipped(source: random.Random) -> dict[str, object]:
    """The fields of the event that ends an order."""
    return {"carrier": "Royal Mail Tracked 48", "tracking_code": str(_uuid(source)), "parcels": 1, "weight_grams": 1250}


def order(order_id: UUID, source: random.Random, events: int = EVENTS_PER_ORDER, *, ends: bool = True) -> list[Fact]:
    """Return one order's life: created, items added, and shipped at the end unless it goes on."""
    items = events - 1 - ends
    facts = [Fact(order_id, CREATED, created(source))]
    facts += [Fact(order_id, ITEM_ADDED, item_added(source)) for _ in range(items)]
    if ends:
        facts.append(Fact(order_id, SHIPPED, shipped(source)))
    return facts


def log(events: int, seed: int = 7, *, together: int = 50) -> Iterator[Fact]:
    """Yield a log of complete orders in which `together` orders go on at the same time."""
    source = random.Random(seed)
    left = max(1, events // EVENTS_PER_ORDER)
    going: list[list[Fact]] = []
    while left or going:
        while left and len(going) < together:
            going.append(order(_uuid(source), source)[::-1])
            left -= 1
        place = source.randrange(len(going))
        yield going[place].pop()
        if not going[place]:
            going.pop(place)


def appends(facts: Iterable[Fact], size: int = 100) -> Iterator[dict[UUID, list[Fact]]]:
    """Cut a log into appends of `size` events, by stream: what both sides are filled with."""
    append: dict[UUID, list[Fact]] = {}
    for number, fact in enumerate(facts, 1):
        append.setdefault(fact.order_id, []).append(fact)
        if number % size == 0:
            yield append
            append = {}
    if append:
        yield append


def fold(facts: Iterable[Fact]) -> dict[UUID, Summary]:
    """Compute `order_summary` in the most obvious way: the oracle for every row that a benchmark writes."""
    rows: dict[UUID, Summary] = {}
    for fact in facts:
        if fact.name == CREATED:
            rows[fact.order_id] = Summary(
                fact.order_id, UUID(str(fact.fields["customer_id"])), "pending", Decimal(0), 0
            )
        elif fact.name == ITEM_ADDED:
            row = rows[fact.order_id]
            amount = int(str(fact.fields["quantity"])) * Decimal(str(fact.fields["unit_price"]))
            rows[fact.order_id] = row._replace(total_amount=row.total_amount + amount, item_count=row.item_count + 1)
        else:
            rows[fact.order_id] = rows[fact.order_id]._replace(status="shipped")
    return rows


def average_bytes(facts: Sequence[Fact]) -> float:
    """The mean size of these events as compact JSON."""
    return sum(len(json.dumps(fact.fields, separators=(",", ":"))) for fact in facts) / len(facts)
