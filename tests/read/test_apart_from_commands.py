"""R4: a query reads no aggregate, also when a command handler is what asks it."""

from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainEvent, Query, QueryBus, Repository, new_id, on
from diptych.errors import ProgrammingError

pytestmark = pytest.mark.anyio


class Opened(DomainEvent):
    owner: str


class Account(Aggregate):
    owner: str = ""

    @on
    def _opened(self, event: Opened) -> None:
        self.owner = event.owner


class Open(Command[str]):
    account_id: UUID


class OwnerOf(Query[str]):
    account_id: UUID


async def test_a_query_that_a_command_asks_has_no_repository() -> None:
    app = App("memory:")
    accounts = Repository(Account)  # as who goes round the wiring would write it

    @app.query_handler
    async def owner_of(query: OwnerOf) -> str:
        return (await accounts.get(query.account_id)).owner

    @app.command_handler
    async def open_account(command: Open, own: Repository[Account]) -> str:
        account = Account(command.account_id)
        account.record(Opened(owner="ada"))
        own.add(account)
        return await queries.dispatch(OwnerOf(account_id=command.account_id))

    queries: QueryBus = app.queries
    async with app:
        with pytest.raises(ProgrammingError, match="DP101"):
            await app.commands.dispatch(Open(account_id=new_id()))
        assert (await app.events.head()).position == 0
