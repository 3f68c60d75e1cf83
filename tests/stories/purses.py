"""A small service for stories about where rows are."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from diptych import (
    Aggregate,
    App,
    Command,
    DomainEvent,
    Key,
    Metadata,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    new_id,
    on,
)


class Paid(DomainEvent):
    amount: Decimal


class Purse(Aggregate):
    pass


class Pay(Command[UUID]):
    purse_id: UUID = Field(default_factory=new_id)
    amount: Decimal


class PurseRow(ReadModel):
    id: Annotated[UUID, Key]
    total: Annotated[Decimal, Field(decimal_places=2)]


class Purses(Projection[PurseRow]):
    @on
    def paid(self, row: PurseRow | None, event: Paid, meta: Metadata) -> PurseRow:
        return PurseRow(id=meta.stream.id, total=event.amount + (row.total if row else 0))


class GetPurse(Query[PurseRow | None]):
    purse_id: UUID


def purses(url: str, *, views: str | None = None, read_from: str | None = None) -> App:
    """The service over these databases."""
    app = App(url, views=views, read_from=read_from)
    app.project(Purses)

    @app.command_handler
    async def pay(command: Pay, purses: Repository[Purse]) -> UUID:
        purse = await purses.get_or_new(command.purse_id)
        purse.record(Paid(amount=command.amount))
        return purse.id

    @app.query_handler
    async def get_purse(query: GetPurse, read: ReadModels) -> PurseRow | None:
        return await read.get(PurseRow, query.purse_id)

    return app
