"""The model test of a whole app: commands and queries against a dict of balances, with repeats and restarts."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from diptych import AggregateNotFoundError, App, Command, Receipt, id_for
from diptych.errors import CommandIdReusedError
from tests.campaigns.bank import AccountBalance, GetBalance, GetLedger, Ledger, OverdrawnError, PayIn, Transfer, bank
from tests.postgres import Server

_schemas: Final = count(1)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

T = TypeVar("T")

ACCOUNTS = st.integers(0, 3).map(lambda number: id_for("account", str(number)))
AMOUNTS = st.integers(1, 99_999).map(lambda cents: Decimal(cents) / 100)
IDS = st.integers(0, 6).map(lambda number: id_for("command", str(number)))


class BankMachine(RuleBasedStateMachine):
    """After every command, both projections say with its receipt what the dict says (R1)."""

    def __init__(self) -> None:
        super().__init__()
        self.balances: dict[UUID, Decimal] = {}
        self.movements: dict[UUID, int] = {}
        self.answers: dict[UUID, tuple[Command[int], Receipt[int]]] = {}
        self.runner = asyncio.Runner()
        self.app = self.open()
        self.run(self.app.__aenter__)

    def open(self) -> App:
        """An app, not yet started."""
        return bank("memory:")

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await in the machine's own loop."""
        return self.runner.run(function())

    def teardown(self) -> None:
        """Stop."""
        self.run(self.app.__aexit__)
        self.runner.close()

    @rule(account=ACCOUNTS, amount=AMOUNTS, command_id=IDS)
    def pay_in(self, account: UUID, amount: Decimal, command_id: UUID) -> None:
        command = PayIn(account_id=account, amount=amount, branch="b")
        if self._is_new(command, command_id):
            self._move(account, amount)
            self._succeeds(command, command_id, account)

    @rule(source=ACCOUNTS, receiver=ACCOUNTS, amount=AMOUNTS, command_id=IDS)
    def transfer(self, source: UUID, receiver: UUID, amount: Decimal, command_id: UUID) -> None:
        command = Transfer(source=source, target=receiver, amount=amount)
        if not self._is_new(command, command_id):
            return
        if source not in self.balances:
            assert isinstance(self._dispatch(command, command_id), AggregateNotFoundError)
        elif self.balances[source] < amount:
            assert isinstance(self._dispatch(command, command_id), OverdrawnError)
        else:
            self._move(source, -amount)
            self._move(receiver, amount)
            self._succeeds(command, command_id, source)

    @rule(command_id=IDS)
    def again(self, command_id: UUID) -> None:
        """C1: the same command with the same id gets the first answer and does nothing."""
        if command_id in self.answers:
            command, first = self.answers[command_id]
            receipt = self._dispatch(command.model_copy(), command_id)
            assert isinstance(receipt, Receipt)
            assert receipt.is_replay
            assert (receipt.position, receipt.result) == (first.position, first.result)
            self._compare(receipt)

    @rule()
    def restart(self) -> None:
        self.run(self.app.__aexit__)
        self.app = self.reopen()
        self.run(self.app.__aenter__)
        self.run(self.app.caught_up)
        self._compare(None)

    def reopen(self) -> App:
        """The app after a restart; what is in memory alone is new and empty."""
        self.balances, self.movements, self.answers = {}, {}, {}
        return self.open()

    def _is_new(self, command: Command[int], command_id: UUID) -> bool:
        """C2: an id that was used for another command of this type is an error, and for the same one a replay."""
        used = self.answers.get(command_id)
        if used is None or type(used[0]) is not type(command):
            return used is None
        if used[0] != command:
            assert isinstance(self._dispatch(command, command_id), CommandIdReusedError)
        return False

    def _move(self, account: UUID, amount: Decimal) -> None:
        self.balances[account] = self.balances.get(account, Decimal(0)) + amount
        self.movements[account] = self.movements.get(account, 0) + 1

    def _succeeds(self, command: Command[int], command_id: UUID, account: UUID) -> None:
        receipt = self._dispatch(command, command_id)
        assert isinstance(receipt, Receipt)
        self.answers[command_id] = command, receipt
        self._compare(receipt)

    def _dispatch(self, command: Command[int], command_id: UUID) -> Receipt[int] | Exception:
        async def attempt() -> Receipt[int] | Exception:
            try:
                return await self.app.commands.dispatch(command, command_id=command_id)
            except (AggregateNotFoundError, OverdrawnError, CommandIdReusedError) as refusal:
                return refusal

        return self.run(attempt)

    def _compare(self, receipt: Receipt[int] | None) -> None:
        for account, balance in self.balances.items():
            row, ledger = self.run(partial(self._rows, account, receipt))
            assert row is not None
            assert (row.balance, row.movements) == (balance, self.movements[account])
            assert ledger is not None
            assert ledger.movements == self.movements[account]

    async def _rows(self, account: UUID, receipt: Receipt[int] | None) -> tuple[AccountBalance | None, Ledger | None]:
        ask = self.app.queries.dispatch
        balance = await ask(GetBalance(account_id=account), after=receipt, within=10)
        return balance, await ask(GetLedger(account_id=account), after=receipt, within=10)


class SqliteBankMachine(BankMachine):
    def open(self) -> App:
        self.folder = Path(tempfile.mkdtemp(prefix="diptych-bank-"))
        return self.reopen()

    def reopen(self) -> App:
        return bank(f"sqlite:///{self.folder / 'shop.db'}")

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


class PostgresBankMachine(BankMachine):
    server: ClassVar[Server]

    def open(self) -> App:
        self.schema = f"bank_model_{next(_schemas)}"
        return self.reopen()

    def reopen(self) -> App:
        return bank(self.server.url(schema=self.schema))

    def teardown(self) -> None:
        super().teardown()
        self.server.query(f"DROP SCHEMA {self.schema} CASCADE")


@pytest.fixture
def on_server(postgres: Server) -> None:
    """Say where the schemas are made."""
    PostgresBankMachine.server = postgres


TestTheBankInMemory = BankMachine.TestCase
TestTheBankInMemory.settings = settings(max_examples=8, stateful_step_count=20)
TestTheBankOnSqlite = SqliteBankMachine.TestCase
TestTheBankOnSqlite.settings = settings(max_examples=8, stateful_step_count=20)
TestTheBankOnPostgres = pytest.mark.usefixtures("on_server")(pytest.mark.postgres(PostgresBankMachine.TestCase))
TestTheBankOnPostgres.settings = settings(max_examples=4, stateful_step_count=20)
