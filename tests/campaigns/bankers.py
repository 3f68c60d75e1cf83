"""People who use the bank while its database is broken: they send with the same id whatever got no answer."""

import asyncio
import json
import time
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Final
from uuid import UUID

from diptych import App, Receipt, UnknownOutcomeError, WrongExpectedVersionError
from diptych.clock import id_for, new_id
from diptych.errors import StoreError
from diptych.store.protocols import EventStore
from tests.campaigns.bank import GetBalance, GetLedger, PayIn

PATIENCE: Final = 60.0  # seconds until a command without an answer is a failure
_ACCOUNTS: Final = 12


class Bankers:
    """Every command pays in an amount of its own, so that the log shows which took effect, and how often."""

    def __init__(self, app: App, count: int, seed: int = 1) -> None:
        self._app, self._count, self._seed = app, count, seed
        self._commands: dict[UUID, PayIn] = {}
        self.answers: dict[UUID, Receipt[int]] = {}
        self.errors: Counter[str] = Counter()
        self.slowest = 0.0  # seconds from the first sending of a command to its answer
        self.is_over = False

    async def work(self) -> None:
        """Pay in until it is over; every command begun is brought to its answer."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._one(Random(self._seed * 1000 + number)))

    async def _one(self, random: Random) -> None:
        while not self.is_over:
            account, command_id = id_for("account", str(random.randrange(_ACCOUNTS))), new_id()
            amount = Decimal(len(self._commands) + 1) / 100
            command = PayIn(account_id=account, amount=amount, branch=f"b{random.randrange(3)}")
            self._commands[command_id] = command
            began = time.monotonic()
            self.answers[command_id] = await self._insist(command, command_id)
            self.slowest = max(self.slowest, time.monotonic() - began)

    async def _insist(self, command: PayIn, command_id: UUID) -> Receipt[int]:
        """Send until an answer comes. Only errors that say what the caller can do are taken for one to send again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._app.commands.dispatch(command, command_id=command_id)
            except (UnknownOutcomeError, StoreError, WrongExpectedVersionError) as error:
                self.errors[type(error).__name__] += 1
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no answer in {PATIENCE:.0f} s") from error
                await asyncio.sleep(0.02)

    async def has_more(self, answers: int) -> None:
        """Return when so many more commands were answered. :raises TimeoutError: the service did not resume."""
        wanted = len(self.answers) + answers
        async with asyncio.timeout(PATIENCE):
            while len(self.answers) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def send_again(self, random: Random, count: int = 20) -> None:
        """C1, L1: commands that were answered are answered the same again."""
        known = list(self.answers)
        for command_id in random.sample(known, min(count, len(known))):
            first, again = self.answers[command_id], await self._insist(self._commands[command_id], command_id)
            assert again.is_replay, f"command {command_id} was acknowledged and took effect again (C1, L1)"
            assert (again.position, again.result) == (first.position, first.result), "another answer (C1)"

    async def check(self) -> str:
        """All that was acknowledged is in the log once, and the rows equal it. :raises AssertionError:"""
        stored = Counter(await _amounts(self._app.events))
        sent = Counter(command.amount for command_id, command in self._commands.items() if command_id in self.answers)
        lost, doubled = sent - stored, stored - sent
        assert not lost, f"{len(lost)} acknowledged commands are not in the log (L1): {sorted(lost)[:10]}"
        assert not doubled, f"{len(doubled)} commands took effect more than once (C1): {sorted(doubled)[:10]}"
        await self._app.caught_up(PATIENCE)
        balances = [await self._app.queries.dispatch(GetBalance(account_id=each)) for each in _accounts()]
        ledgers = [await self._app.queries.dispatch(GetLedger(account_id=each)) for each in _accounts()]
        assert sum(row.balance for row in balances if row) == sum(sent.elements()), "the balances are wrong (P1)"
        assert sum(row.movements for row in balances if row) == len(sent), "the movements are wrong (P1)"
        assert sum(row.movements for row in ledgers if row) == len(sent), "the inline rows are wrong (L7)"
        errors = ", ".join(f"{count} {name}" for name, count in sorted(self.errors.items()))
        return f"{len(sent)} commands, all there, once; slowest {self.slowest:.1f} s; errors: {errors or 'none'}"


def _accounts() -> list[UUID]:
    return [id_for("account", str(number)) for number in range(_ACCOUNTS)]


async def _amounts(events: EventStore) -> list[Decimal]:
    found: list[Decimal] = []
    after = 0
    while True:
        page = await events.read_log(after=after)
        found += [Decimal(json.loads(row.payload)["amount"]) for row in page.events]
        after = page.scanned
        if after >= page.head.position:
            return found
