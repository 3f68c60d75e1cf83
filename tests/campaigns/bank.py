"""A small bank with an asynchronous and an inline projection: what is killed and started again."""

from decimal import Decimal
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from diptych import (
    Aggregate,
    App,
    Command,
    DomainError,
    DomainEvent,
    Index,
    Key,
    Metadata,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    on,
)


class PaidIn(DomainEvent):
    amount: Decimal
    branch: str


class PaidOut(DomainEvent):
    amount: Decimal


class OverdrawnError(DomainError):
    """There is less in the account than was asked for."""


class BankAccount(Aggregate):
    """Money comes in and goes out, and every movement is counted."""

    balance: Decimal = Decimal(0)
    movements: int = 0

    def pay_in(self, amount: Decimal, branch: str) -> None:
        self.record(PaidIn(amount=amount, branch=branch))

    def pay_out(self, amount: Decimal) -> None:
        if amount > self.balance:
            raise OverdrawnError("There is not enough in the account.")
        self.record(PaidOut(amount=amount))

    @on
    def _paid_in(self, event: PaidIn) -> None:
        self.balance += event.amount
        self.movements += 1

    @on
    def _paid_out(self, event: PaidOut) -> None:
        self.balance -= event.amount
        self.movements += 1


class PayIn(Command[int]):
    account_id: UUID
    amount: Decimal
    branch: str


class Transfer(Command[int]):
    source: UUID
    target: UUID
    amount: Decimal


class AccountBalance(ReadModel):
    id: Annotated[UUID, Key]
    balance: Annotated[Decimal, Field(decimal_places=2)]
    movements: int


class BranchTotal(ReadModel):
    branch: Annotated[str, Key]
    total: Annotated[Decimal, Field(decimal_places=2), Index]


class Ledger(ReadModel):
    id: Annotated[UUID, Key]
    movements: int


class Balances(Projection[AccountBalance]):
    """Isolated, asynchronous."""

    @on
    def paid_in(self, row: AccountBalance | None, event: PaidIn, meta: Metadata) -> AccountBalance:
        row = row or AccountBalance(id=meta.stream.id, balance=Decimal(0), movements=0)
        return row.replace(balance=row.balance + event.amount, movements=row.movements + 1)

    @on
    def paid_out(self, row: AccountBalance, event: PaidOut) -> AccountBalance:
        return row.replace(balance=row.balance - event.amount, movements=row.movements + 1)


class Branches(Projection[BranchTotal]):
    """Keyed by a field of the event, asynchronous."""

    @on(key="branch")
    def paid_in(self, row: BranchTotal | None, event: PaidIn) -> BranchTotal:
        row = row or BranchTotal(branch=event.branch, total=Decimal(0))
        return row.replace(total=row.total + event.amount)


class Ledgers(Projection[Ledger]):
    """Inline: in the same commit as the events."""

    @on
    def paid_in(self, row: Ledger | None, event: PaidIn, meta: Metadata) -> Ledger:
        row = row or Ledger(id=meta.stream.id, movements=0)
        return row.replace(movements=row.movements + 1)

    @on
    def paid_out(self, row: Ledger, event: PaidOut) -> Ledger:
        return row.replace(movements=row.movements + 1)


class GetBalance(Query[AccountBalance | None]):
    account_id: UUID


class GetLedger(Query[Ledger | None]):
    account_id: UUID


PROJECTIONS: Final = {Balances: "async", Branches: "async", Ledgers: "inline"}


def bank(url: str, *, views: str | None = None) -> App:
    """The app, not yet started. With rows elsewhere none is inline."""
    app = App(url, views=views, mode="production")

    @app.command_handler
    async def pay_in(command: PayIn, accounts: Repository[BankAccount]) -> int:
        account = await accounts.get_or_new(command.account_id)
        account.pay_in(command.amount, command.branch)
        return account.movements

    @app.command_handler
    async def transfer(command: Transfer, accounts: Repository[BankAccount]) -> int:
        source, target = await accounts.get(command.source), await accounts.get_or_new(command.target)
        source.pay_out(command.amount)
        target.pay_in(command.amount, "transfer")
        return source.movements

    @app.query_handler
    async def get_balance(query: GetBalance, read: ReadModels) -> AccountBalance | None:
        return await read.get(AccountBalance, query.account_id)

    @app.query_handler
    async def get_ledger(query: GetLedger, read: ReadModels) -> Ledger | None:
        return await read.get(Ledger, query.account_id)

    app.project(Balances)
    app.project(Branches)
    app.project(Ledgers, mode="inline" if views is None else "async")
    return app
