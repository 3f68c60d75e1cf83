"""The version that a caller has seen: of what is loaded first, or of what is named, and of what is new."""

from typing import Any
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainEvent, Repository, new_id, on
from diptych.errors import ConflictError, WrongExpectedVersionError

pytestmark = pytest.mark.anyio


class Opened(DomainEvent):
    owner: str


class Account(Aggregate):
    owner: str = ""

    def open(self, owner: str) -> None:
        self.record(Opened(owner=owner))

    @on
    def _opened(self, event: Opened) -> None:
        self.owner = event.owner


class OpenAccount(Command):
    account_id: UUID
    looks_first: bool = False


class OpenTwo(Command):
    first: UUID
    second: UUID


def accounts() -> App:
    app = App(mode="development")

    @app.command_handler
    async def open_account(command: OpenAccount, accounts: Repository[Account]) -> None:
        if command.looks_first:
            assert await accounts.get_or_none(command.account_id) is None
        account = Account(command.account_id)
        account.open("ada")
        accounts.add(account)

    @app.command_handler
    async def open_two(command: OpenTwo, accounts: Repository[Account]) -> None:
        for id in (command.first, command.second):
            (await accounts.get_or_new(id)).open("bob")

    return app


@pytest.mark.parametrize("looks_first", [False, True])
async def test_what_is_new_has_version_0(looks_first: bool) -> None:
    """L6"""
    async with accounts() as app:
        for seen in (1, 7):
            with pytest.raises(WrongExpectedVersionError):
                await app.commands.dispatch(OpenAccount(account_id=new_id(), looks_first=looks_first), expected=seen)
        assert (await app.events.head()).position == 0
        receipt = await app.commands.dispatch(OpenAccount(account_id=new_id(), looks_first=looks_first), expected=0)
        assert receipt.position == 1


async def test_one_that_was_looked_for_in_vain_may_be_added() -> None:
    """What was found empty is forgotten for it: development mode finds no change past an event."""
    async with accounts() as app:
        account = new_id()
        await app.commands.dispatch(OpenAccount(account_id=account, looks_first=True))
        with pytest.raises(ConflictError):
            await app.commands.dispatch(OpenAccount(account_id=account))


async def test_versions_are_those_of_the_first_or_of_who_is_named() -> None:
    """L6"""
    async with accounts() as app:
        one, other = new_id(), new_id()
        await app.commands.dispatch(OpenAccount(account_id=one))
        wrong: Any
        for wrong in (0, {one: 0}, {other: 1}, {one: 1, other: 1}):
            with pytest.raises(WrongExpectedVersionError):
                await app.commands.dispatch(OpenTwo(first=one, second=other), expected=wrong)
        await app.commands.dispatch(OpenTwo(first=one, second=other), expected={one: 1, other: 0})
        receipt = await app.commands.dispatch(OpenTwo(first=one, second=other), expected=2)
        assert receipt.position == 5
