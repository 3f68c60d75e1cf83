"""The service that the verbs which look things up are tried on, as a file, and what fills it."""

LEDGER = '''
"""Accounts; what is large is reported by a command of its own."""

import os
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from diptych import Aggregate, App, Command, CommandBus, DomainEvent, Key, Metadata, Projection, Query, ReadModel
from diptych import ReadModels, Repository, new_id, on


class Opened(DomainEvent):
    owner: str


class PaidIn(DomainEvent, version=2):
    cents: int


class Renamed(DomainEvent):
    pass


class Reported(DomainEvent):
    cents: int


class Account(Aggregate):
    owner: str = ""
    cents: int = 0
    tags: list[str] = []

    @on
    def _opened(self, event: Opened) -> None:
        self.owner = event.owner

    @on
    def _paid_in(self, event: PaidIn) -> None:
        self.cents += event.cents


class Report(Aggregate):
    pass


class Open(Command[UUID]):
    account_id: UUID = Field(default_factory=new_id)
    owner: str


class PayIn(Command):
    account_id: UUID
    cents: int


class ReportLarge(Command):
    account_id: UUID
    cents: int


class Balance(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


class Balances(Projection[Balance]):
    @on
    def opened(self, event: Opened, meta: Metadata) -> Balance:
        return Balance(id=meta.stream.id, cents=0)

    @on
    def paid_in(self, row: Balance, event: PaidIn) -> Balance:
        if event.cents == 13:
            raise ValueError("an unlucky number")
        return row.replace(cents=row.cents + event.cents)


class GetBalance(Query[Balance | None]):
    account_id: UUID


app = App(os.environ.get("LEDGER", "sqlite:///ledger.db"))
app.project(Balances)


@app.upcast("PaidIn", 1)
def in_cents(payload: dict) -> dict:
    return {"cents": int(Decimal(payload["amount"]) * 100)}


@app.command_handler
async def open_account(command: Open, accounts: Repository[Account]) -> UUID:
    account = Account(command.account_id)
    account.record(Opened(owner=command.owner))
    accounts.add(account)
    return account.id


@app.command_handler
async def pay_in(command: PayIn, accounts: Repository[Account], commands: CommandBus) -> None:
    (await accounts.get(command.account_id)).record(PaidIn(cents=command.cents))
    if command.cents >= 1000:
        await commands.dispatch(ReportLarge(account_id=command.account_id, cents=command.cents))


@app.command_handler
async def report_large(command: ReportLarge, reports: Repository[Report]) -> None:
    (await reports.get_or_new(command.account_id)).record(Reported(cents=command.cents))


@app.query_handler
async def balance(query: GetBalance, read: ReadModels) -> Balance | None:
    return await read.get(Balance, query.account_id)
'''

FILL = """
import asyncio, json, sys
from uuid import UUID
sys.path.insert(0, ".")
from diptych.clock import new_id_bytes
from diptych.events.recorded import NewEvent
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from ledger import Open, PayIn, app

ADA = UUID("11111111-1111-7111-8111-111111111111")
PAY = UUID("22222222-2222-7222-8222-222222222222")
REQUEST = UUID("33333333-3333-4333-8333-333333333333")

async def main():
    async with app:
        await app.commands.dispatch(Open(account_id=ADA, owner="Ada"))
        old = NewEvent(new_id_bytes(), "PaidIn", 1, '{"amount": "2.50"}')
        await app.events.append(Append([StreamWrite(StreamName("", "Account", ADA), ANY, [old])]))
        last = await app.commands.dispatch(
            PayIn(account_id=ADA, cents=1000), command_id=PAY, user_id="bob", correlation_id=REQUEST)
        await app.commands.dispatch(PayIn(account_id=ADA, cents=13))
        await app.caught_up()
        print(last.token)

asyncio.run(main())
"""

ADA = "11111111-1111-7111-8111-111111111111"
PAY = "22222222-2222-7222-8222-222222222222"
REQUEST = "33333333-3333-4333-8333-333333333333"
