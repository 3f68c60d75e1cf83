"""One dispatch from load to commit: run the handler, store what it recorded, try again when somebody was faster."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from diptych.errors import UnknownOutcomeError, WrongExpectedVersionError
from diptych.messages import Command, Envelope, Receipt
from diptych.store.protocols import Append, Appended, CommandKeyTaken, Fold, StreamWrite
from diptych.write.idempotency import key_of, record_of, replayed
from diptych.write.queues import Queues
from diptych.write.unit_of_work import UnitOfWork, WriteSide, run

Call = Callable[[Any], Awaitable[Any]]
Committed = Callable[[Appended, int], None]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a command is run again after a conflict, and how long it waits before: up to this, at random."""

    attempts: int = 3
    first_delay: float = 0.005


class Handling:
    """Runs commands against one write side. `inline` projections are folded with every append."""

    def __init__(self, side: WriteSide, inline: Sequence[Fold], committed: Committed, retry: RetryPolicy) -> None:
        self._side, self._inline, self._committed, self._retry = side, inline, committed, retry
        self._ids = Queues()

    async def handle(self, call: Call, command: Command[Any]) -> Receipt[Any]:
        """Run the command, or give the first answer again if it took effect before."""
        envelope = command.envelope
        if not envelope.is_known:
            receipt = await self._attempts(call, command, envelope)
            envelope.is_known = True
            return receipt
        key = key_of(command, envelope)
        await self._ids.enter(key)
        try:
            return await self._once(call, command, envelope)
        finally:
            self._ids.leave(key)

    async def _once(self, call: Call, command: Command[Any], envelope: Envelope) -> Receipt[Any]:
        """Answer as the first time if there was one: looked up first, and again before a rejection is reported (C1)."""
        key = key_of(command, envelope)
        stored = await self._side.store.find_command(key)
        if stored is not None:
            return replayed(command, envelope, stored)
        try:
            return await self._attempts(call, command, envelope)
        except Exception:
            stored = await self._side.store.find_command(key)
            if stored is None:
                raise
            return replayed(command, envelope, stored)

    async def _attempts(self, call: Call, command: Command[Any], envelope: Envelope) -> Receipt[Any]:
        """Run the handler again on a conflict, with full jitter, unless the caller gave the version it expects."""
        attempts = 1 if envelope.expected is not None else self._retry.attempts + 1
        for attempt in range(1, attempts + 1):
            work = UnitOfWork(self._side, envelope, envelope.expected)
            try:
                return await self._attempt(call, command, work)
            except WrongExpectedVersionError:
                if attempt == attempts:
                    raise
            finally:
                work.release()
            await asyncio.sleep(random.random() * self._retry.first_delay * 2**attempt)
        raise AssertionError("unreachable")

    async def _attempt(self, call: Call, command: Command[Any], work: UnitOfWork) -> Receipt[Any]:
        result = await run(work, call, command)
        writes = work.writes()
        if not writes and not work.envelope.is_known:
            work.unchanged()
            return Receipt(result, work.position, work.event_id, {}, work.envelope.command_id)
        return await self._commit(command, work, writes, result)

    async def _commit(
        self, command: Command[Any], work: UnitOfWork, writes: Sequence[StreamWrite], result: Any
    ) -> Receipt[Any]:
        envelope = work.envelope
        record = record_of(command, envelope, result)
        append = Append(writes, work.metadata(), record, None, self._inline)
        try:
            appended = await self._side.store.append(append)
        except CommandKeyTaken as taken:
            return replayed(command, envelope, taken.stored)
        except UnknownOutcomeError as unknown:
            raise UnknownOutcomeError(unknown.why, envelope.command_id) from unknown
        if not writes:
            work.unchanged()
            return Receipt(result, appended.position, appended.event_id, {}, envelope.command_id)
        streams = work.stored(appended.position, appended.versions)
        self._committed(appended, sum(len(write.events) for write in writes))
        types = frozenset([event.type for write in writes for event in write.events])
        return Receipt(result, appended.position, appended.event_id, streams, envelope.command_id, types)
