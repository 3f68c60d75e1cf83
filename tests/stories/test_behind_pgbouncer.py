"""Two processes of one service share a PgBouncer that has few sessions, and notice nothing of it."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import pytest
from pydantic import Field

from diptych import App, Key, Metadata, Projection, Query, ReadModel, ReadModels, id_for, on
from diptych.store.batches import Db
from diptych.store.opening import look_at
from diptych.store.seen import Watched
from tests.postgres import Server, had_or_skipped
from tests.postgres_servers.bouncer import Bouncer
from tests.stories.purses import GetPurse, Paid, Pay, PurseRow, purses

pytestmark = [pytest.mark.anyio, pytest.mark.postgres, pytest.mark.timeout(120)]

PURSES = [id_for("purse", str(number)) for number in range(3)]


class Taken(ReadModel):
    amount: Annotated[Decimal, Field(decimal_places=2), Key]
    times: int


class Takings(Projection[Taken]):
    """Hand-written SQL that adds: applied twice, it would count double."""

    async def handle(self, event: Paid, db: Db) -> None:
        await db.execute(
            "INSERT INTO taken (amount, times) VALUES (:amount, 1) "
            "ON CONFLICT (amount) DO UPDATE SET times = taken.times + 1",
            amount=event.amount,
        )


class Payments(ReadModel):
    id: Annotated[UUID, Key]
    times: int


class PaymentsCounted(Projection[Payments]):
    """Inline."""

    @on
    def paid(self, row: Payments | None, event: Paid, meta: Metadata) -> Payments:
        return Payments(id=meta.stream.id, times=1 + (row.times if row else 0))


class Overview(Query[list[int]]):
    """How often was paid, by both kinds of projections, and how many purses there are."""


def shop(url: str) -> App:
    app = purses(url)
    app.project(Takings)
    app.project(PaymentsCounted, mode="inline")

    @app.query_handler
    async def overview(query: Overview, read: ReadModels) -> list[int]:
        [times] = await read.sql(int, "SELECT coalesce(sum(times), 0) AS times FROM taken")
        counted = sum([row.times for row in await read.find(Payments)])
        return [times, counted, await read.count(PurseRow)]

    return app


@pytest.fixture
def url(postgres: Server, postgres_url: str) -> Iterator[str]:
    """With fewer sessions than two processes could use at once."""
    with had_or_skipped():
        bouncer = Bouncer(postgres, connections=4)
    yield bouncer.url(schema=postgres_url.rpartition("schema=")[2], options="&pgbouncer=true&sslmode=disable")
    bouncer.remove()


async def test_two_apps_behind_one_pgbouncer_are_one_service(url: str) -> None:
    """C1, L6, P1, R1: both send the same commands to the same few purses, and read in the other what they wrote."""
    async with shop(url) as one, shop(url) as other:

        async def pay(app: App, number: int) -> tuple[int, bool]:
            command = Pay(purse_id=PURSES[number % 3], amount=Decimal(1 + number % 2))
            receipt = await app.commands.dispatch(command, command_id=id_for("payment", str(number)))
            elsewhere = other if app is one else one
            row = await elsewhere.queries.dispatch(GetPurse(purse_id=command.purse_id), after=receipt, within=10.0)
            assert row is not None
            return receipt.position, receipt.is_replay

        for first in range(0, 40, 4):
            both = [pay(app, number) for number in range(first, first + 4) for app in (one, other)]
            answers = await asyncio.gather(*both)
            assert len({position for position, _ in answers}) == 4
            assert sum(is_replay for _, is_replay in answers) == 4

        for app in (one, other):
            await app.caught_up(10)
            assert await app.queries.dispatch(Overview()) == [40, 40, 3]
            rows = [await app.queries.dispatch(GetPurse(purse_id=purse)) for purse in PURSES]
            assert sum(row.total for row in rows if row is not None) == 60


async def test_status_looks_through_pgbouncer(url: str) -> None:
    async with shop(url) as app:
        receipt = await app.commands.dispatch(Pay(amount=Decimal(1)))
        await app.caught_up(10)
    seen = await asyncio.to_thread(look_at, url, [Watched("purses", False, frozenset({"Paid"}))])
    assert (seen.head.position, seen.projections[0].checkpoint.position) == (receipt.position, receipt.position)
