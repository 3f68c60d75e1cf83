"""A small service for the tests of the web front: accounts that are opened, filled, emptied and closed."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field, model_validator

from diptych.app.application import App
from diptych.app.module import Module
from diptych.app.tuning import Tuning
from diptych.clock import new_id
from diptych.errors import DomainError
from diptych.handlers import on
from diptych.messages import Command, DomainEvent, Metadata, Query
from diptych.projections.projection import Projection
from diptych.read.models import Index, Key, ReadModel
from diptych.read.read_models import ReadModels
from diptych.web import Queries, WebSettings, commands_as, from_path, install, locate, require_if_match, tag
from diptych.write.aggregate import Aggregate
from diptych.write.bus import CommandBus
from diptych.write.repository import Repository

module = Module("accounts")
LIMITS = WebSettings()
TUNING = Tuning()


class OverdrawnError(DomainError):
    status = 400
    title = "Not enough money"


class ClosedError(DomainError):
    """Answered with the default status."""


class AccountOpened(DomainEvent):
    owner: str


class MoneyMoved(DomainEvent):
    amount: int
    note: str = ""


class AccountClosed(DomainEvent):
    pass


class Account(Aggregate):
    balance: int = 0
    is_closed: bool = False

    def move(self, amount: int, note: str) -> None:
        if self.is_closed:
            raise ClosedError(f"Account {self.id} is closed.")
        if self.balance + amount < 0:
            raise OverdrawnError(f"Account {self.id} has {self.balance}.")
        self.record(MoneyMoved(amount=amount, note=note))

    @on
    def _moved(self, event: MoneyMoved) -> None:
        self.balance += event.amount

    @on
    def _closed(self, event: AccountClosed) -> None:
        self.is_closed = True


class OpenAccount(Command[UUID]):
    account_id: UUID = Field(default_factory=new_id)
    owner: str


class Part(BaseModel):
    label: str
    amount: int


class Move(Command[int]):
    account_id: UUID
    amount: int
    note: str = ""
    parts: list[Part] = []

    @model_validator(mode="after")
    def _adds_up(self) -> "Move":
        if self.parts and sum(part.amount for part in self.parts) != self.amount:
            raise ValueError("the parts do not add up")
        return self


class Close(Command):
    account_id: UUID


class AccountRow(ReadModel):
    id: Annotated[UUID, Key]
    owner: Annotated[str, Index]
    balance: int
    version: int


class GetAccount(Query[AccountRow | None]):
    account_id: UUID


class ShowAccount(Query[AccountRow]):
    account_id: UUID


class FindAccounts(Query[list[AccountRow]]):
    owner: str


class Accounts(Projection[AccountRow]):
    @on
    def opened(self, event: AccountOpened, meta: Metadata) -> AccountRow:
        return AccountRow(id=meta.stream.id, owner=event.owner, balance=0, version=1)

    @on
    def moved(self, row: AccountRow, event: MoneyMoved, meta: Metadata) -> AccountRow:
        if event.note == "poison":
            raise RuntimeError("poisoned")
        if event.note == "slow":
            time.sleep(0.5)
        return row.replace(balance=row.balance + event.amount, version=meta.version)


@module.command_handler
async def open_account(command: OpenAccount, accounts: Repository[Account]) -> UUID:
    account = Account(command.account_id)
    account.record(AccountOpened(owner=command.owner))
    accounts.add(account)
    return command.account_id


@module.command_handler
async def move(command: Move, accounts: Repository[Account]) -> int:
    account = await accounts.get(command.account_id)
    account.move(command.amount, command.note)
    return account.balance


@module.command_handler
async def close(command: Close, accounts: Repository[Account]) -> None:
    (await accounts.get(command.account_id)).record(AccountClosed())


@module.query_handler
async def get_account(query: GetAccount, read: ReadModels) -> AccountRow | None:
    return await read.get(AccountRow, query.account_id)


@module.query_handler
async def show_account(query: ShowAccount, read: ReadModels) -> AccountRow:
    return await read.one(AccountRow, query.account_id)


@module.query_handler
async def find_accounts(query: FindAccounts, read: ReadModels) -> list[AccountRow]:
    return await read.find(AccountRow, owner=query.owner)


module.project(Accounts)


async def current_user(user: Annotated[str | None, Header(alias="X-User")] = None) -> str | None:
    return user


Commands = Annotated[CommandBus, Depends(commands_as(current_user))]


class Opened(BaseModel):
    account_id: UUID


class Balance(BaseModel):
    balance: int


def make_app(url: str = "memory:", tuning: Tuning = TUNING) -> App:
    app = App(url, mode="development", tuning=tuning)
    app.include(module)
    return app


def add_routes(api: FastAPI) -> None:
    @api.post("/accounts", status_code=201)
    async def open_one(command: OpenAccount, commands: Commands, request: Request) -> Opened:
        receipt = await commands.dispatch(command)
        locate(request, "read_one", account_id=receipt.result)
        return Opened(account_id=receipt.result)

    @api.post("/accounts/{account_id}/moves")
    async def move_one(command: Annotated[Move, from_path(Move, "account_id")], commands: Commands) -> Balance:
        return Balance(balance=(await commands.dispatch(command)).result)

    @api.delete("/accounts/{account_id}", status_code=204)
    async def close_one(command: Annotated[Close, from_path(Close, "account_id")], commands: Commands) -> None:
        await commands.dispatch(command)

    @api.put("/accounts/{account_id}/balance", dependencies=[Depends(require_if_match)])
    async def correct_one(command: Annotated[Move, from_path(Move, "account_id")], commands: Commands) -> Balance:
        return Balance(balance=(await commands.dispatch(command)).result)

    @api.post("/transfers/{source}/{target}", status_code=204)
    async def transfer(source: UUID, target: UUID, balance: Balance, commands: Commands) -> None:
        await commands.dispatch(Move(account_id=source, amount=-balance.balance))
        await commands.dispatch(Move(account_id=target, amount=balance.balance))

    @api.get("/accounts/{account_id}")
    async def read_one(account_id: UUID, queries: Queries, request: Request) -> AccountRow:
        row = await queries.dispatch(GetAccount(account_id=account_id))
        if row is None:
            raise HTTPException(404, "There is no such account.")
        tag(request, row.version)
        return row

    @api.get("/accounts/{account_id}/shown")
    async def show_one(account_id: UUID, queries: Queries) -> AccountRow:
        return await queries.dispatch(ShowAccount(account_id=account_id))

    @api.get("/accounts")
    async def find(queries: Queries, owner: str) -> list[AccountRow]:
        return await queries.dispatch(FindAccounts(owner=owner))


def make_api(app: App, settings: WebSettings = LIMITS, **options: Any) -> FastAPI:
    api = FastAPI(**options)
    install(app, api, settings=settings)
    add_routes(api)
    return api


@asynccontextmanager
async def client_of(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose lifespan runs; an error inside becomes an answer, as behind a server."""
    async with api.router.lifespan_context(api):
        transport = httpx.ASGITransport(api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            yield client


async def tried(app: App, position: int) -> None:
    """Return when every projection has applied or parked the event at this position, or stopped at it."""
    for progress in app.progress.values():
        await progress.wait_for(position, 5.0)
