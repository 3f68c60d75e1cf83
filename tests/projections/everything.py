"""One projection with every way to find a row, and what it must come to, computed in the plainest way."""

from collections.abc import Sequence
from datetime import UTC, date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from diptych.handlers import on
from diptych.messages import DomainEvent, Metadata
from diptych.projections.projection import Projection
from diptych.read.models import Index, Key, ReadModel
from tests.projections.shop import Money


class Joined(DomainEvent):
    name: str


class Moved(DomainEvent):
    """The customer changes the name and the town, on all orders."""

    name: str
    town: str


class Opened(DomainEvent):
    customer_id: UUID
    at: AwareDatetime


class Bought(DomainEvent):
    product: str
    count: int
    price: Money


class Recalled(DomainEvent):
    """A product is taken back: its row and what the orders noted of it."""

    product: str


class Bundled(DomainEvent):
    """Several products at once."""

    products: tuple[str, ...]


class Closed(DomainEvent):
    pass


class Person(ReadModel):
    id: Annotated[UUID, Key]
    name: str


class Note(BaseModel):
    product: str
    price: Decimal


class Deal(ReadModel):
    id: Annotated[UUID, Key]
    customer_id: Annotated[UUID, Index]
    customer: str
    town: str
    last: Annotated[str | None, Index]
    total: Money
    at: AwareDatetime
    notes: list[Note]


class Product(ReadModel):
    product: Annotated[str, Key]
    sold: int
    best: Money


class Entry(ReadModel):
    deal: Annotated[UUID, Key]
    product: Annotated[str, Key]
    count: int
    text: str


class Day(ReadModel):
    day: Annotated[date, Key]
    deals: int


class Everything(Projection[Person | Deal | Product | Entry | Day]):
    """Five tables: by stream, by a field, by a function, many rows at once, look-ups, sequences, other models."""

    @on
    def joined(self, event: Joined | Moved, meta: Metadata) -> Person:
        return Person(id=meta.stream.id, name=event.name)

    @on(each="customer_id")
    def moved(self, row: Deal, event: Moved) -> Deal:
        return row.replace(customer=event.name, town=event.town)

    @on
    def opened(
        self, event: Opened, meta: Metadata, person: Annotated[Person | None, Key("customer_id")], before: Deal | None
    ) -> Deal:
        name = person.name if person else "?"
        town = before.town if before else ""
        return Deal(
            id=meta.stream.id, customer_id=event.customer_id, customer=name, town=town, last=None, total=Decimal(0),
            at=event.at, notes=[],
        )  # fmt: skip

    @on
    def bought(self, row: Deal | None, event: Bought) -> Deal | None:
        if row is None:
            return None
        row.notes.append(Note(product=event.product, price=event.price))  # in place, as nobody should
        if event.count == 0:
            return row
        return row.replace(total=row.total + event.count * event.price, last=event.product)

    @on(key="product")
    def sold(self, row: Product | None, event: Bought) -> Product:
        row = row or Product(product=event.product, sold=0, best=event.price)
        return row.replace(sold=row.sold + event.count, best=max(row.best, event.price))

    @on(key=lambda event, meta: (meta.stream.id, event.product))
    def entered(self, row: Entry | None, event: Bought, meta: Metadata) -> Entry | None:
        if event.count == 0:
            return None
        count = event.count + (row.count if row else 0)
        return Entry(deal=meta.stream.id, product=event.product, count=count, text=f"{count} x {event.price}")

    @on
    def bundled(self, event: Bundled, meta: Metadata) -> list[Entry]:
        return [Entry(deal=meta.stream.id, product=each, count=1, text="bundle") for each in event.products]

    @on(key="product")
    def recalled(self, row: Product | None, event: Recalled) -> Product | None:
        return None

    @on
    def counted(self, event: Closed, meta: Metadata, deal: Annotated[Deal | None, Key]) -> list[Day]:
        return [] if deal is None else [Day(day=deal.at.date(), deals=meta.version)]

    @on
    def closed(self, row: Deal | None, event: Closed) -> Deal | None:
        return None


EVENTS = (Joined, Moved, Opened, Bought, Recalled, Bundled, Closed)
MODELS = (Person, Deal, Product, Entry, Day)
Rows = dict[type[ReadModel], dict[Any, dict[str, Any]]]


class Naive:
    """Folds (stream, version, event) one by one over plain dicts."""

    def __init__(self) -> None:
        self.people: dict[Any, dict[str, Any]] = {}
        self.deals: dict[Any, dict[str, Any]] = {}
        self.products: dict[Any, dict[str, Any]] = {}
        self.entries: dict[Any, dict[str, Any]] = {}
        self.days: dict[Any, dict[str, Any]] = {}

    def take(self, stream: UUID, version: int, event: DomainEvent) -> None:
        """Take the next event."""
        match event:
            case Joined(name=name):
                self.people[stream] = {"id": stream, "name": name}
            case Moved(name=name, town=town):
                self.people[stream] = {"id": stream, "name": name}
                for deal in self.deals.values():
                    if deal["customer_id"] == stream:
                        deal.update(customer=name, town=town)
            case Opened():
                self.open(stream, event)
            case Bought():
                self.buy(stream, event)
            case Bundled(products=several):
                for one in several:
                    self.entries[stream, one] = {"deal": stream, "product": one, "count": 1, "text": "bundle"}
            case Recalled(product=product):
                self.products.pop(product, None)
            case Closed():
                closed = self.deals.pop(stream, None)
                if closed is not None:
                    day = closed["at"].astimezone(UTC).date()
                    self.days[day] = {"day": day, "deals": version}

    def open(self, stream: UUID, event: Opened) -> None:
        """A deal, again perhaps."""
        town = self.deals[stream]["town"] if stream in self.deals else ""
        name = self.people[event.customer_id]["name"] if event.customer_id in self.people else "?"
        self.deals[stream] = {"id": stream, "customer_id": event.customer_id, "customer": name, "town": town}
        self.deals[stream].update(last=None, total=Decimal(0), at=event.at, notes=[])

    def buy(self, stream: UUID, event: Bought) -> None:
        """A deal's note and total, the product's figures, the entry of both."""
        product, count, price = event.product, event.count, event.price
        if stream in self.deals:
            self.deals[stream]["notes"].append({"product": product, "price": price})
            if count:
                self.deals[stream]["total"] += count * price
                self.deals[stream]["last"] = product
        sold = self.products.setdefault(product, {"product": product, "sold": 0, "best": price})
        sold.update(sold=sold["sold"] + count, best=max(sold["best"], price))
        so_far = self.entries.pop((stream, product), {"count": 0})["count"] + count
        if count:
            text = f"{so_far} x {price}"
            self.entries[stream, product] = {"deal": stream, "product": product, "count": so_far, "text": text}


def naive(facts: Sequence[tuple[UUID, int, DomainEvent]]) -> Rows:
    """Return all rows by model and key."""
    state = Naive()
    for stream, version, event in facts:
        state.take(stream, version, event)
    return dict(zip(MODELS, (state.people, state.deals, state.products, state.entries, state.days), strict=True))
