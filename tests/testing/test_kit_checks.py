"""What the kit finds by itself in the code under test: each fault is planted, and named with its file and line."""

import itertools
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import AwareDatetime

from diptych import (
    Aggregate,
    App,
    Command,
    Db,
    DomainEvent,
    Key,
    Metadata,
    Projection,
    ReadModel,
    Repository,
    new_id,
    on,
)
from diptych.errors import ProgrammingError
from diptych.testing.scenario import Scenario

COUNTER = itertools.count()
SEEN: list[int] = []


def line_of(mark: str) -> str:
    """Where in this file the line is that ends with a comment: the planted fault."""
    lines = Path(__file__).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}")]
    return f"{__file__}:{number} "


class Started(DomainEvent):
    """Something began."""


class Paid(DomainEvent):
    cents: int


class Ticket(Aggregate, name="kit-ticket"):
    """Every way in which an `@on` method can depend on what nobody may depend on."""

    how: str = ""
    token: Any = None
    paid: list[int] = []

    def start(self) -> None:
        self.record(Started())

    def pay(self, cents: int) -> None:
        self.record(Paid(cents=cents))

    def pay_twice(self, cents: int) -> None:
        self.record(Paid(cents=cents))
        self.paid.append(cents)  # in place

    def rename(self) -> None:
        self.token = "another"  # set outside

    @on
    def _paid(self, event: Paid) -> None:
        self.paid.append(event.cents)


class Uuid(Ticket, name="kit-uuid"):
    @on
    def _started(self, event: Started) -> None:
        self.how = "uuid"
        token = uuid4()  # uuid4
        self.token = token


class Today(Ticket, name="kit-today"):
    @on
    def _started(self, event: Started) -> None:
        self.token = date.today().year  # today


class Now(Ticket, name="kit-now"):
    @on
    def _started(self, event: Started) -> None:
        self.token = datetime.now(UTC).replace(microsecond=0, second=0)  # now


class Clocked(Ticket, name="kit-clocked"):
    @on
    def _started(self, event: Started) -> None:
        self.token = int(time.time()) // 3600  # time


class Lucky(Ticket, name="kit-lucky"):
    @on
    def _started(self, event: Started) -> None:
        self.token = random.random()  # random


def _helper() -> UUID:
    return new_id()  # helper


class Helped(Ticket, name="kit-helped"):
    @on
    def _started(self, event: Started) -> None:
        if self.token is None:
            self.token = {"made": [_helper()]}


class Method(Ticket, name="kit-method"):
    @on
    def _started(self, event: Started) -> None:
        self._make()

    def _make(self) -> None:
        self.token = secrets.token_hex()  # method


class Yearly(Ticket, name="kit-yearly"):
    @on
    def _started(self, event: Started) -> None:
        self.token = time.strftime("%Y")  # strftime


class Counting(Ticket, name="kit-counting"):
    @on
    def _started(self, event: Started) -> None:
        self.token = next(COUNTER)  # counter


class Remembering(Ticket, name="kit-remembering"):
    @on
    def _started(self, event: Started) -> None:
        SEEN.append(len(SEEN))  # global
        self.token = len(SEEN)


FAULTS: dict[str, type[Ticket]] = {
    "uuid4": Uuid,
    "today": Today,
    "now": Now,
    "time": Clocked,
    "random": Lucky,
    "helper": Helped,
    "method": Method,
    "strftime": Yearly,
    "counter": Counting,
    "global": Remembering,
}


@pytest.mark.parametrize(("mark", "ticket"), FAULTS.items())
def test_chance_and_time_in_an_on_method_are_found_when_it_records(mark: str, ticket: type[Ticket]) -> None:
    with pytest.raises(ProgrammingError) as found:
        Scenario(ticket).when(lambda ticket: ticket.start())
    assert str(found.value).startswith(line_of(mark))
    assert "token is not the same when the same events are folded again" in str(found.value)


@pytest.mark.parametrize(("mark", "ticket"), FAULTS.items())
def test_chance_and_time_in_an_on_method_are_found_in_what_was_given(mark: str, ticket: type[Ticket]) -> None:
    with pytest.raises(ProgrammingError) as found:
        Scenario(ticket).given(Started(), Paid(cents=1)).when(lambda ticket: None)
    assert str(found.value).startswith(line_of(mark))


class Start(Command):
    ticket_id: UUID


class Pay(Command):
    ticket_id: UUID
    how: str


def ticket_app(kind: type[Ticket]) -> App:
    """Handlers of one of the tickets; production mode, for the kit looks all the same."""
    app = App("memory:", mode="production")

    async def start(command: Start, tickets: Repository[Any]) -> None:
        (await tickets.get_or_new(command.ticket_id)).start()

    async def pay(command: Pay, tickets: Repository[Any]) -> None:
        ticket = await tickets.get(command.ticket_id)
        if command.how == "in the handler":
            ticket.paid.append(1)  # in the handler
        else:
            getattr(ticket, command.how)(*((1,) if command.how == "pay_twice" else ()))

    for handler in (start, pay):
        handler.__annotations__["tickets"] = Repository[kind]  # type: ignore[valid-type]
        app.command_handler(handler)
    return app


def test_a_uuid_in_an_on_method_is_found_behind_a_handler() -> None:
    scenario = Scenario(Uuid, ticket_app(Uuid))
    with pytest.raises(ProgrammingError) as found:
        scenario.when(Start(ticket_id=scenario.id))
    assert str(found.value).startswith(line_of("uuid4"))
    assert "put them into the event" in str(found.value)


CHANGES: dict[str, Callable[[Any], object]] = {
    "in place": lambda ticket: ticket.pay_twice(5),
    "set outside": lambda ticket: ticket.rename(),
}


@pytest.mark.parametrize(("mark", "change"), CHANGES.items())
def test_state_changed_outside_on_is_found_in_a_method(mark: str, change: Callable[[Any], object]) -> None:
    with pytest.raises(ProgrammingError) as found:
        Scenario(Ticket).given(Paid(cents=1)).when(change)
    assert str(found.value).startswith(line_of(mark))
    assert "outside @on" in str(found.value)


@pytest.mark.parametrize(
    ("mark", "how"), [("in place", "pay_twice"), ("set outside", "rename"), ("in the handler", "in the handler")]
)
def test_state_changed_outside_on_is_found_behind_a_handler(mark: str, how: str) -> None:
    scenario = Scenario(Ticket, ticket_app(Ticket)).given(Paid(cents=1))
    with pytest.raises(ProgrammingError) as found:
        scenario.when(Pay(ticket_id=scenario.id, how=how))
    assert str(found.value).startswith(line_of(mark))


def test_an_honest_aggregate_is_left_alone() -> None:
    scenario = Scenario(Ticket).given(Started(), Paid(cents=1))
    scenario.when(lambda ticket: ticket.pay(2)).then(Paid(cents=2))


class Amount:
    """A value whose class does not say what is equal."""

    def __init__(self, cents: int) -> None:
        self.cents = cents


class Valued(Ticket, name="kit-valued"):
    @on
    def _started(self, event: Started) -> None:
        self.token = Amount(1)

    def spend(self) -> None:
        self.record(Paid(cents=1))
        self.token.cents = 0  # inside a value


def test_a_value_without_equality_is_what_its_attributes_are() -> None:
    scenario = Scenario(Valued).when(lambda ticket: ticket.start()).then(Started)
    with pytest.raises(ProgrammingError) as found:
        scenario.when(lambda ticket: ticket.spend())
    assert str(found.value).startswith(line_of("inside a value"))


class Till(ReadModel):
    id: Annotated[UUID, Key]
    cents: int = 0
    parts: list[int] = []
    at: AwareDatetime | None = None


TOTALS: dict[UUID, int] = {}


class Honest(Projection[Till], name="kit_honest"):
    @on
    def paid(self, row: Till | None, event: Paid, meta: Metadata) -> Till:
        row = row or Till(id=meta.stream.id)
        return row.replace(cents=row.cents + event.cents, parts=[*row.parts, event.cents], at=meta.recorded_at)


class InObject(Projection[Till], name="kit_in_object"):
    def __init__(self) -> None:
        self.total = 0

    @on
    def paid(self, row: Till | None, event: Paid, meta: Metadata) -> Till:
        self.total += event.cents  # object
        return Till(id=meta.stream.id, cents=self.total)


class InModule(Projection[Till], name="kit_in_module"):
    @on
    def paid(self, row: Till | None, event: Paid, meta: Metadata) -> Till:
        id = meta.stream.id
        TOTALS[id] = TOTALS.get(id, 0) + event.cents  # module
        return Till(id=id, cents=TOTALS[id])


class InClass(Projection[Till], name="kit_in_class"):
    seen: list[int] = []

    @on
    def paid(self, row: Till | None, event: Paid, meta: Metadata) -> Till:
        self.seen.append(event.cents)  # class
        return Till(id=meta.stream.id, cents=sum(self.seen))


class Appending(Projection[Till], name="kit_appending"):
    """Changes a list of its row in place: rows are read anew for each attempt, so nothing comes of it."""

    @on
    def paid(self, row: Till | None, event: Paid, meta: Metadata) -> Till:
        row = row or Till(id=meta.stream.id)
        row.parts.append(event.cents)
        return row.replace(cents=sum(row.parts))


class Timed(Projection[Till], name="kit_timed"):
    @on
    def paid(self, row: Till | None, event: Paid, meta: Metadata) -> Till:
        now = datetime.now(UTC)  # projected now
        return Till(id=meta.stream.id, cents=event.cents, at=now)


class Chance(Projection[Till], name="kit_chance"):
    @on
    def paid(self, row: Till | None, event: Paid, meta: Metadata) -> Till:
        return Till(id=meta.stream.id, cents=random.randrange(10**9))  # projected random


class OwnSql(Projection[Till], name="kit_own_sql"):
    def __init__(self) -> None:
        self.total = 0

    async def handle(self, event: Paid, meta: Metadata, db: Db) -> None:
        self.total += event.cents  # sql
        await db.execute(
            "INSERT INTO till (id, cents, parts, at) VALUES (:id, :cents, :parts, NULL) "
            "ON CONFLICT (id) DO UPDATE SET cents = excluded.cents",
            id=meta.stream.id, cents=self.total, parts="[]",
        )  # fmt: skip


class HonestSql(Projection[Till], name="kit_honest_sql"):
    async def handle(self, event: Paid, meta: Metadata, db: Db) -> None:
        await db.execute(
            "INSERT INTO till (id, cents, parts, at) VALUES (:id, :cents, :parts, NULL) "
            "ON CONFLICT (id) DO UPDATE SET cents = till.cents + excluded.cents",
            id=meta.stream.id, cents=event.cents, parts="[]",
        )  # fmt: skip


PROJECTED: dict[str, tuple[type[Projection[Till]], str]] = {
    "object": (InObject, "self.total outlives the event"),
    "module": (InModule, "TOTALS outlives the event"),
    "class": (InClass, "self.seen outlives the event"),
    "projected now": (Timed, "take times from meta.recorded_at"),
    "projected random": (Chance, "makes other rows when the same events are folded again"),
    "sql": (OwnSql, "self.total outlives the event"),
}


@pytest.mark.parametrize("mark", PROJECTED)
def test_a_projection_that_is_not_its_events_is_found(mark: str) -> None:
    """P1, P3: rows are the fold over the log, however often and in whatever batches it is delivered."""
    projection, told = PROJECTED[mark]
    with pytest.raises(ProgrammingError) as found:
        Scenario(projection).given(Paid(cents=1), Paid(cents=2)).then_row(Till, UUID(int=0))
    assert str(found.value).startswith(line_of(mark))
    assert told in str(found.value)


@pytest.mark.parametrize("projection", [Honest, HonestSql, Appending])
def test_a_projection_that_adds_up_in_its_row_is_left_alone(projection: type[Projection[Till]]) -> None:
    """P1: an event takes effect once, for rows and checkpoint commit together."""
    scenario = Scenario(projection).given(Paid(cents=1), Paid(cents=2))
    scenario.then_row(Till, scenario.id, cents=3)


def test_a_projection_of_an_app_is_checked_with_each_command() -> None:
    app = ticket_app(Ticket)
    app.project(InObject)
    scenario = Scenario(Ticket, app).given(Paid(cents=1))
    with pytest.raises(ProgrammingError) as found:
        scenario.when(Start(ticket_id=scenario.id))
    assert str(found.value).startswith(line_of("object"))
    assert "delivered once, in one batch" in str(found.value)
