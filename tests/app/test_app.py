"""The app as its user sees it: wiring, start, stop, and every fault at once."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated, Any, Protocol
from uuid import UUID

import pytest
from pydantic import Field

from diptych import (
    Aggregate,
    App,
    Clock,
    Command,
    CommandBus,
    ConfigurationError,
    DomainError,
    DomainEvent,
    FixedClock,
    Key,
    Metadata,
    Module,
    Projection,
    Query,
    QueryBus,
    ReadModel,
    ReadModels,
    Receipt,
    Repository,
    WrongExpectedVersionError,
    new_id,
    on,
)
from diptych.errors import (
    AggregateNotFoundError,
    CommandIdReusedError,
    ConflictError,
    InvalidInputError,
    NoHandlerFoundError,
    ProgrammingError,
    StaleReadError,
)
from diptych.write.bus import Dispatch
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class AccountOpened(DomainEvent):
    owner: str


class MoneyPaidIn(DomainEvent):
    amount: Decimal


class OverdraftError(DomainError):
    pass


class Account(Aggregate):
    owner: str = ""
    balance: Decimal = Decimal(0)

    @on
    def _opened(self, event: AccountOpened) -> None:
        self.owner = event.owner

    @on
    def _paid_in(self, event: MoneyPaidIn) -> None:
        self.balance += event.amount


class OpenAccount(Command[UUID]):
    account_id: UUID = Field(default_factory=new_id)
    owner: str


class PayIn(Command):
    account_id: UUID
    amount: Decimal


class Transfer(Command):
    source: UUID
    target: UUID
    amount: Decimal


class AccountRow(ReadModel):
    id: Annotated[UUID, Key]
    owner: str
    balance: Annotated[Decimal, Field(decimal_places=2)]


class Accounts(Projection[AccountRow]):
    @on
    def opened(self, event: AccountOpened, meta: Metadata) -> AccountRow:
        return AccountRow(id=meta.stream.id, owner=event.owner, balance=Decimal(0))

    @on
    def paid_in(self, row: AccountRow, event: MoneyPaidIn) -> AccountRow:
        return row.replace(balance=row.balance + event.amount)


class GetAccount(Query[AccountRow | None]):
    account_id: UUID


def bank(url: str = "memory:") -> App:
    app = App(url, mode="development")

    @app.command_handler
    async def open_account(command: OpenAccount, accounts: Repository[Account]) -> UUID:
        account = Account(command.account_id)
        account.record(AccountOpened(owner=command.owner))
        accounts.add(account)
        return command.account_id

    @app.command_handler
    async def pay_in(command: PayIn, accounts: Repository[Account]) -> None:
        account = await accounts.get(command.account_id)
        if account.balance + command.amount < 0:
            raise OverdraftError("Not enough money")
        account.record(MoneyPaidIn(amount=command.amount))

    @app.command_handler
    async def transfer(command: Transfer, accounts: Repository[Account]) -> None:
        (await accounts.get(command.source)).record(MoneyPaidIn(amount=-command.amount))
        (await accounts.get(command.target)).record(MoneyPaidIn(amount=command.amount))

    app.project(Accounts)

    @app.query_handler
    async def get_account(query: GetAccount, read: ReadModels) -> AccountRow | None:
        return await read.get(AccountRow, query.account_id)

    return app


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    folder = tmp_path_factory.mktemp("bank")
    async with bank(url_for(request, folder)) as app:
        yield app


async def test_a_command_and_a_query_that_reads_its_write_r1(app: App) -> None:
    receipt = await app.commands.dispatch(OpenAccount(owner="ada"))
    assert receipt.position == 1
    found = await app.queries.dispatch(GetAccount(account_id=receipt.result), after=receipt)
    assert found == AccountRow(id=receipt.result, owner="ada", balance=Decimal(0))
    paid = await app.commands.dispatch(PayIn(account_id=receipt.result, amount=Decimal("10.50")))
    answer = await app.queries.answer(GetAccount(account_id=receipt.result), after=paid.token)
    assert answer.value is not None
    assert (answer.value.balance, answer.as_of_position, answer.is_stale) == (Decimal("10.50"), 2, False)
    last = app.codec.recorded((await app.events.read_log(after=1)).events[0])
    assert answer.as_of_time == last.metadata.recorded_at


async def test_two_aggregates_commit_atomically_l7(app: App) -> None:
    first = (await app.commands.dispatch(OpenAccount(owner="a"))).result
    second = (await app.commands.dispatch(OpenAccount(owner="b"))).result
    receipt = await app.commands.dispatch(Transfer(source=first, target=second, amount=Decimal(5)))
    assert sorted(receipt.streams.values()) == [2, 2]
    with pytest.raises(AggregateNotFoundError):
        await app.commands.dispatch(Transfer(source=first, target=new_id(), amount=Decimal(5)))
    assert (await app.events.head()).position == 4


async def test_a_refused_command_stores_nothing(app: App) -> None:
    account = (await app.commands.dispatch(OpenAccount(owner="a"))).result
    with pytest.raises(OverdraftError):
        await app.commands.dispatch(PayIn(account_id=account, amount=Decimal(-1)))
    assert (await app.events.head()).position == 1


async def test_a_repeated_command_gets_the_first_answer_c1(app: App) -> None:
    key = new_id()
    first = await app.commands.dispatch(OpenAccount(owner="a"), command_id=key)
    again = await app.commands.dispatch(OpenAccount(owner="a"), command_id=key)
    assert (again.result, again.position, again.is_replay) == (first.result, first.position, True)
    with pytest.raises(CommandIdReusedError):
        await app.commands.dispatch(OpenAccount(owner="b"), command_id=key)
    assert (await app.events.head()).position == 1


async def test_the_same_object_is_the_same_command_c1(app: App) -> None:
    command = OpenAccount(owner="a")
    first = await app.commands.dispatch(command)
    assert (await app.commands.dispatch(command)).result == first.result
    assert (await app.events.head()).position == 1


async def test_an_id_belongs_to_its_user_c1(app: App) -> None:
    key = new_id()
    await app.commands.as_user("ada").dispatch(OpenAccount(owner="a"), command_id=key)
    other = await app.commands.as_user("eve").dispatch(OpenAccount(owner="e"), command_id=key)
    assert not other.is_replay


async def test_a_rejection_is_not_remembered_c1(app: App) -> None:
    account = (await app.commands.dispatch(OpenAccount(owner="a"))).result
    key = new_id()
    command = PayIn(account_id=account, amount=Decimal(-5))
    with pytest.raises(OverdraftError):
        await app.commands.dispatch(command, command_id=key)
    await app.commands.dispatch(PayIn(account_id=account, amount=Decimal(5)))
    assert not (await app.commands.dispatch(command, command_id=key)).is_replay
    assert (await app.commands.dispatch(command, command_id=key)).is_replay


async def test_a_given_version_is_held_and_not_retried(app: App) -> None:
    account = (await app.commands.dispatch(OpenAccount(owner="a"))).result
    pay = PayIn(account_id=account, amount=Decimal(1))
    await app.commands.dispatch(pay, expected=1)
    with pytest.raises(WrongExpectedVersionError, match="expected version 1, found 2"):
        await app.commands.dispatch(PayIn(account_id=account, amount=Decimal(1)), expected={account: 1})


@pytest.mark.parametrize("expected", [3, {new_id(): 3}])
async def test_a_given_version_that_nothing_would_hold_is_refused(expected: Any) -> None:
    """An If-Match that nobody looks at would let a lost update through, silently."""
    app = App()

    @app.command_handler
    async def lonely(command: Lonely) -> None: ...

    async with app:
        with pytest.raises(InvalidInputError, match="a version that its caller has seen"):
            await app.commands.dispatch(Lonely(), expected=expected)


async def test_creating_twice_is_a_conflict(app: App) -> None:
    account = (await app.commands.dispatch(OpenAccount(owner="a"))).result
    with pytest.raises(ConflictError):
        await app.commands.dispatch(OpenAccount(account_id=account, owner="b"))


async def test_metadata_says_who_and_why(app: App) -> None:
    correlation = new_id()
    bus = app.commands.as_user("ada")
    receipt = await bus.dispatch(OpenAccount(owner="a"), correlation_id=correlation)
    row = (await app.events.read_log(after=0)).events[0]
    meta = app.codec.recorded(row).metadata
    assert (meta.user_id, meta.correlation_id) == ("ada", correlation)
    assert meta.command_id == meta.causation_id == receipt.command_id


async def test_a_wait_in_vain_is_an_error_or_says_so(app: App) -> None:
    receipt = await app.commands.dispatch(OpenAccount(owner="a"))
    ahead = Receipt(None, receipt.position + 10, receipt.event_id, {}, new_id(), frozenset(["AccountOpened"]))
    query = GetAccount(account_id=receipt.result)
    await app.queries.dispatch(query)
    with pytest.raises(StaleReadError, match="behind"):
        await app.queries.dispatch(query, after=ahead, within=0.05)
    answer = await app.queries.answer(query, after=ahead.token, within=0.05)
    assert (answer.is_stale, answer.reason) == (True, "behind")


async def test_many_commands_at_one_aggregate_do_not_conflict(app: App) -> None:
    import asyncio

    account = (await app.commands.dispatch(OpenAccount(owner="a"))).result
    pays = [app.commands.dispatch(PayIn(account_id=account, amount=Decimal(1))) for _ in range(100)]
    last = max(await asyncio.gather(*pays), key=lambda receipt: receipt.position)
    found = await app.queries.dispatch(GetAccount(account_id=account), after=last)
    assert found is not None
    assert found.balance == 100


async def test_status_measures_against_the_store(app: App) -> None:
    receipt = await app.commands.dispatch(OpenAccount(owner="a"))
    await app.caught_up()
    status = await app.status()
    (one,) = status.projections
    assert (status.head, one.name, one.position, one.lag_events) == (receipt.position, "accounts", 1, 0)
    assert status.problems == ()


async def test_middleware_wraps_in_order() -> None:
    seen: list[str] = []

    class Outer:
        def __init__(self, next: Dispatch) -> None:
            self.next = next

        async def __call__(self, command: Command[object]) -> Receipt[object]:
            seen.append(f"outer {type(command).__name__}")
            return await self.next(command)

    def inner(next: Dispatch) -> Dispatch:
        async def call(command: Command[object]) -> Receipt[object]:
            seen.append("inner")
            return await next(command)

        return call

    app = bank()
    app.middleware(Outer)
    app.middleware(inner)
    async with app:
        await app.commands.dispatch(OpenAccount(owner="a"))
    assert seen == ["outer OpenAccount", "inner"]


class Rates(Protocol):
    def rate(self) -> Decimal: ...


class Lonely(Command):
    pass


class AskLonely(Query[int]):
    pass


async def test_every_wiring_fault_is_listed_at_once() -> None:
    app = App()

    @app.command_handler
    async def first(command: PayIn, rates: Rates) -> None: ...

    @app.command_handler
    async def second(command: PayIn) -> None: ...

    @app.command_handler  # type: ignore[arg-type]
    def sync(command: Transfer) -> None: ...

    @app.command_handler
    async def reads(command: OpenAccount, read: ReadModels) -> UUID:
        return command.account_id

    @app.query_handler
    async def writes(query: GetAccount, accounts: Repository[Account]) -> AccountRow | None:
        return None

    @app.command_handler  # type: ignore[type-var]
    async def nothing(text: str) -> None: ...

    app.expect_handler(Lonely, "routes.py:7")
    with pytest.raises(ConfigurationError) as caught:
        await app.__aenter__()
    text = str(caught.value)
    for part in (
        "parameter rates: nobody provides Rates; write app.provide(Rates, ...)",
        "PayIn is already handled by",
        "it is not async; write async def",
        "a command handler may not ask for ReadModels",
        "a query handler may not ask for",
        "its first parameter is str;",
        "routes.py:7: Lonely has no handler",
    ):
        assert part in text
    assert text.count("test_app.py:") >= 6
    assert not app.is_running


async def test_what_is_provided_is_made_once_and_finished() -> None:
    made: list[str] = []

    class Fixed:
        def __init__(self, clock: Clock) -> None:
            made.append("Fixed")
            self.clock = clock

        def rate(self) -> Decimal:
            return Decimal(2)

    async def connection() -> AsyncIterator[list[str]]:
        made.append("open")
        yield made
        made.append("closed")

    app = App()
    app.provide(Rates, Fixed)
    app.provide(list[str], connection)
    app.provide(Clock, FixedClock())

    @app.command_handler
    async def lonely(command: Lonely, rates: Rates, seen: list[str], clock: Clock) -> None:
        assert rates.rate() == 2
        assert isinstance(clock, FixedClock)
        seen.append("used")

    async with app:
        await app.commands.dispatch(Lonely())
        await app.commands.dispatch(Lonely())
    assert made == ["Fixed", "open", "used", "used", "closed"]


async def test_a_message_nobody_handles_fails_at_dispatch() -> None:
    async with bank() as app:
        with pytest.raises(NoHandlerFoundError, match="Lonely has no handler"):
            await app.commands.dispatch(Lonely())
        with pytest.raises(NoHandlerFoundError, match="AskLonely has no handler"):
            await app.queries.dispatch(AskLonely())


async def test_a_dispatch_before_the_start_says_what_to_do() -> None:
    with pytest.raises(ProgrammingError, match="async with app"):
        await bank().commands.dispatch(OpenAccount(owner="a"))
    with pytest.raises(ProgrammingError, match="async with app"):
        await bank().queries.dispatch(GetAccount(account_id=new_id()))


async def test_the_class_based_spelling_means_the_same() -> None:
    class PayInHandler:
        def __init__(self, accounts: Repository[Account]) -> None:
            self.accounts = accounts

        async def handle(self, command: PayIn) -> None:
            (await self.accounts.get_or_new(command.account_id)).record(MoneyPaidIn(amount=command.amount))

    class GetAccountHandler:
        async def handle(self, query: GetAccount) -> AccountRow | None:
            return None

    app = App()
    app.commands.register(PayIn, PayInHandler(Repository(Account)))
    app.queries.register(GetAccount, GetAccountHandler())
    async with app:
        receipt = await app.commands.dispatch(PayIn(account_id=new_id(), amount=Decimal(1)))
        assert receipt.position == 1
        assert await app.queries.dispatch(GetAccount(account_id=new_id())) is None


async def test_modules_are_included_by_reference_and_once() -> None:
    inner, outer = Module("inner"), Module("outer")
    app = App()
    app.include(outer)
    app.include(inner)
    outer.include(inner)
    inner.include(outer)

    @inner.command_handler
    async def lonely(command: Lonely) -> None: ...

    async with app:
        await app.commands.dispatch(Lonely())
    async with app:
        await app.commands.dispatch(Lonely())


async def test_a_repository_outside_a_command_says_so() -> None:
    with pytest.raises(ProgrammingError, match="inside a command handler only"):
        await Repository(Account).get(new_id())


async def test_a_result_that_was_not_declared_stores_nothing() -> None:
    app = App()

    @app.command_handler
    async def wrong(command: OpenAccount, accounts: Repository[Account]) -> UUID:
        (await accounts.get_or_new(command.account_id)).record(AccountOpened(owner="x"))
        return "not a uuid"  # type: ignore[return-value]

    async with app:
        with pytest.raises(ProgrammingError, match="Nothing was stored"):
            await app.commands.dispatch(OpenAccount(owner="x"))
        assert (await app.events.head()).position == 0


async def test_a_nested_command_belongs_to_its_conversation() -> None:
    app = bank()

    @app.command_handler
    async def lonely(command: Lonely, commands: CommandBus) -> None:
        await commands.dispatch(OpenAccount(owner="nested"))

    async with app:
        outer = await app.commands.dispatch(Lonely())
        meta = app.codec.recorded((await app.events.read_log(after=0)).events[0]).metadata
        assert meta.correlation_id == outer.command_id


async def test_query_buses_nest() -> None:
    app = bank()

    @app.query_handler
    async def lonely(query: AskLonely, queries: QueryBus) -> int:
        return 0 if await queries.dispatch(GetAccount(account_id=new_id())) else 1

    async with app:
        assert await app.queries.dispatch(AskLonely()) == 1
