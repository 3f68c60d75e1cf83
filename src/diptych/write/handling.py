"""One dispatch from load to commit: run the handler, store what it recorded, try again when somebody was faster."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from types import CoroutineType
from typing import Any, NamedTuple

from diptych.errors import StoreError, UnknownOutcomeError, WrongExpectedVersionError
from diptych.handlers import not_awaited
from diptych.messages import Command, Envelope, Receipt
from diptych.store.batches import Fold
from diptych.store.protocols import Append, Appended, CommandKeyTaken, StreamWrite
from diptych.write.idempotency import key_of, record_of, replayed
from diptych.write.queues import Queues
from diptych.write.unit_of_work import UnitOfWork, WriteSide, refuse_itself, run

Call = Callable[[Any], Awaitable[Any]]
Committed = Callable[[Appended, int], None]


class RetryPolicy(NamedTuple):
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
            return await self._once(call, command, envelope)
        refuse_itself(command, envelope)
        key = key_of(command, envelope)
        await self._ids.enter(key)
        try:
            return await self._first_answer(command, envelope) or await self._once(call, command, envelope)
        finally:
            self._ids.leave(key)

    async def _once(self, call: Call, command: Command[Any], envelope: Envelope) -> Receipt[Any]:
        """Run it; if it may have been sent before, look for the first answer before reporting a rejection (C1)."""
        try:
            return await self._attempts(call, command, envelope)
        except Exception as error:
            receipt = None
            if envelope.is_known:
                try:
                    receipt = await self._first_answer(command, envelope)
                except StoreError:
                    if isinstance(error, UnknownOutcomeError):
                        raise error from None  # a store error would say that nothing was stored
                    raise
            if receipt is None:
                raise
            return receipt
        finally:
            envelope.is_known = True  # to a middleware that sends it again, and to who dispatches the object again

    async def _first_answer(self, command: Command[Any], envelope: Envelope) -> Receipt[Any] | None:
        stored = await self._side.store.find_command(key_of(command, envelope))
        return None if stored is None else replayed(command, envelope, stored)

    async def _attempts(self, call: Call, command: Command[Any], envelope: Envelope) -> Receipt[Any]:
        """Run the handler again on a conflict, with full jitter, unless the caller gave the version it expects.

        A handler that dispatched a command is not run again: that command would take effect again.
        """
        attempts = 1 if envelope.expected is not None else self._retry.attempts + 1
        for attempt in range(1, attempts + 1):
            work = UnitOfWork(self._side, envelope, envelope.expected)
            try:
                return await self._attempt(call, command, work)
            except WrongExpectedVersionError:
                if attempt == attempts or work.has_dispatched:
                    raise
            finally:
                work.release()
            await asyncio.sleep(random.random() * self._retry.first_delay * 2**attempt)
        raise AssertionError("unreachable")

    async def _attempt(self, call: Call, command: Command[Any], work: UnitOfWork) -> Receipt[Any]:
        result = await run(work, call, command)
        if type(result) is CoroutineType:
            raise not_awaited(type(command), result)
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
        append = Append(writes, work.metadata(), record, self._inline, envelope.beside)
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
