"""An inbox as a duty: one process of all takes its messages, those of one key in their order.

A message leads to a command under an id that is made of the message's. So it takes effect once, however often it comes
within the time that command ids are remembered. It is acknowledged after that commit.
Rule: what cannot be read, or is refused, is put aside with its bytes, and acknowledged; nothing is lost (I2).
"""

import asyncio
import base64
import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from diptych.clock import id_for
from diptych.errors import PublishError
from diptych.messages import Command
from diptych.reactions.inbox import Accepted, Inbox
from diptych.reactions.messages import IntegrationMessage, checked
from diptych.reactions.noting import Notes
from diptych.reactions.source import Incoming, Source
from diptych.store.leases import Held, Request
from diptych.subscriptions.apart import apart
from diptych.subscriptions.care import ALONE, EndedError
from diptych.subscriptions.duty import REJECTIONS, Desk, Dispatch, Sending, Work, kept_by
from diptych.subscriptions.failures import Backoff, is_passing
from diptych.subscriptions.lane_place import LanePlace
from diptych.subscriptions.shelf import Shelf
from diptych.subscriptions.tasks import (
    DONE,
    PARKED,
    SKIPPED,
    Task,
    as_key,
    as_text,
    failed_first,
    full_key,
    tasks_table,
)

_log: Final = logging.getLogger("diptych.consuming")
MESSAGE: Final = "message"
_AT_ONCE: Final = 100
_WAIT: Final = 1.0  # seconds that a fetch waits for a message
_ATTEMPTS: Final = 5
ENDED: Final = "the process ended while it was tried"


class InboxDuty:
    """Runs one inbox."""

    begins_at_head = False

    def __init__(self, inbox: Inbox, accepted: Mapping[str, Accepted], dispatch: Dispatch) -> None:
        self.inbox, self.accepted, self.dispatch = inbox, accepted, dispatch
        self.name = inbox.name
        self.tasks = tasks_table(self.name)
        self.kept = kept_by(self.name, self.tasks, lanes=1)

    def work(self, desk: Desk, held: Held) -> Work:
        """Return what works on the lane."""
        return ConsumingWork(self, desk, held)

    def command_id(self, known_by: str) -> UUID:
        """Return the id of the command that a message leads to."""
        return id_for(f"inbox {self.name}", known_by)

    def read(self, incoming: Incoming) -> IntegrationMessage:
        """Read a message. What it raises is why it cannot be read."""
        return checked(self.inbox.decode(incoming))


class ConsumingWork:
    """Takes messages. `error` says why none come, or is None."""

    def __init__(self, duty: InboxDuty, desk: Desk, held: Held) -> None:
        self._duty, self._desk, self.lane = duty, desk, held.lane
        self._place = LanePlace(duty, desk, held)
        self._shelf = Shelf(desk.store, duty.tasks, held.lane)
        self._notes = Notes(desk, duty.tasks, held, self._place, self._shelf)
        self._requests: Sequence[Request] = ()
        self._answered: set[int] = set()
        self.is_paused = self._is_at_rest = False
        self.error: str | None = None

    @property
    def position(self) -> int:
        """Where the lane stands: an inbox does not follow the log."""
        return self._place.position

    def is_asked(self, requests: Sequence[Request]) -> None:
        """Learn what is asked of the lane's owner."""
        self._requests = requests

    def wake(self) -> None:
        """Do nothing: a second passes quickly."""

    def drop(self) -> None:
        """Do nothing: what is not acknowledged comes again."""

    def is_settled(self, head: int) -> bool:
        """Whether no message waits, as far as is known."""
        return self._is_at_rest

    async def end(self) -> None:
        """Do nothing more: what was taken is on disk."""

    async def run(self) -> None:
        """Take messages until cancelled. However it ends, what is not acknowledged comes again, to whoever is next."""
        source = self._duty.inbox.source
        await self._notes.begin()
        telling = asyncio.create_task(self._notes.tell(), name=f"diptych-{self._duty.name}-tells")
        try:
            await source.open()
            await self._run(source)
        finally:
            telling.cancel()
            await asyncio.shield(source.close())

    async def _run(self, source: Source) -> None:
        pace = self._desk.pace
        backoff = Backoff(pace.first_pause, pace.longest_pause)
        while True:
            await self._do_requests()
            if self.is_paused:
                await asyncio.sleep(_WAIT)
                continue
            try:
                found = await apart(source.fetch(_AT_ONCE, _WAIT))
            except PublishError as error:
                if self.error is None:
                    _log.warning("%s: %s", self._duty.name, error)
                self.error, self._is_at_rest = str(error), False
                await asyncio.sleep(backoff.next())
                continue
            self.error, self._is_at_rest = None, not found
            backoff.reset()
            await self._take_all(found)

    async def _take_all(self, found: Sequence[Incoming]) -> None:
        """Take messages, those of one key one after another."""
        if self._notes.is_careful:
            found = await self._take_alone(found)
        keyed = [(self._key(one), place, one) for place, one in enumerate(found)]
        try:
            async with asyncio.TaskGroup() as group:
                for _, chain in groupby(sorted(keyed, key=itemgetter(0, 1)), itemgetter(0)):
                    group.create_task(self._take_each([one for _, _, one in chain]))
        except ExceptionGroup as errors:  # who keeps the lane asks what kind of error it is
            raise errors.exceptions[0] from errors

    async def _take_alone(self, found: Sequence[Incoming]) -> Sequence[Incoming]:
        """Take those at which a process ended, one by one; note the others before they are taken, and return them."""
        others = []
        for incoming in found:
            message = self._task(incoming)
            tries = self._notes.tries(message)
            if tries > ALONE:
                await self._is_over(incoming, message, EndedError())
            elif tries == ALONE:
                async with self._notes.alone(message):
                    await self._take_each([incoming])
            else:
                others.append((incoming, message))
        await self._notes.note([message for _, message in others])
        return [incoming for incoming, _ in others]

    def _key(self, incoming: Incoming) -> str:
        try:
            message = self._duty.read(incoming)
            return full_key(message.tenant, message.key)
        except (Exception, SystemExit):
            return ""

    async def _take_each(self, chain: Sequence[Incoming]) -> None:
        for incoming in chain:
            message = self._task(incoming)
            self._notes.begins(message)
            try:
                await self._is_over(incoming, message, await self._take(incoming, message))
            finally:
                self._notes.ends(message)

    async def _is_over(self, incoming: Incoming, message: Task, error: BaseException | None) -> None:
        """Write down what became of a message, and have it not come again."""
        if error is None:
            await self._notes.over(message)
        else:
            self._notes.ends(message)
            await self._notes.write([message._replace(state=PARKED, error=as_text(error), attempts=1)])
            _log.warning("%s: a message was put aside: %s", self._duty.name, as_text(error))
        try:
            await apart(self._duty.inbox.source.done(incoming))
        except PublishError as away:  # it comes again, and its command is known by then
            _log.warning("%s: %s", self._duty.name, away)

    async def _take(self, incoming: Incoming, task: Task) -> BaseException | None:
        """Do what a message says; return why it cannot be done, if it cannot. While the store is away, it waits."""
        pace, attempts = self._desk.pace, 0
        backoff = Backoff(pace.first_pause, pace.longest_pause)
        try:
            async with self._notes.beside():
                message = self._duty.read(incoming)
                accepted = self._duty.accepted.get(message.type)
                command = None if accepted is None else accepted.command(message)
        except (Exception, SystemExit) as error:
            return error
        while command is not None:
            try:
                async with self._notes.beside():
                    await apart(self._send(command, message), self._duty.inbox.timeout.total_seconds())
                break
            except Exception as error:
                attempts += not is_passing(error)
                if isinstance(error, REJECTIONS) or attempts == _ATTEMPTS:
                    return error
                self._notes.fails(task, as_text(error))
                await self._notes.sleep(backoff.next())
        return None

    async def _send(self, command: Command[Any], message: IntegrationMessage) -> None:
        id = self._duty.command_id(message.known_by)
        sending = Sending(id, message.correlation_id or message.id, message.id, message.tenant, None)
        await self._duty.dispatch(command, sending)

    def _task(self, incoming: Incoming) -> Task:
        try:
            message = self._duty.read(incoming)
            known_by, name = message.known_by, message.type
            key = as_key(full_key(message.tenant, message.key or str(message.id)))
        except (Exception, SystemExit):  # by its bytes alone: the broker's id may be used again, and need not be text
            known_by = key = sha256(incoming.raw).hexdigest()
            name = "?"
        body = {"id": incoming.id, "place": incoming.place, "raw": base64.b64encode(incoming.raw).decode()}
        return Task(self._duty.command_id(known_by), self.lane, MESSAGE, key, 0, name, json.dumps(body))

    async def _do_requests(self) -> None:
        """Do what an operator asks: take again what was put aside, in its order, or leave the first of a key out."""
        for request in [one for one in self._requests if one.id not in self._answered]:
            done = 0
            aside = [one for one in await self._shelf.parked() if request.key in ("", one.key)]
            for task in failed_first(aside) if request.verb == "skip" else aside:
                if request.verb == "skip":
                    skipped = f"{task.error} (skipped: {request.reason})"
                    await self._notes.write([task._replace(state=SKIPPED, error=skipped)])
                    done += 1
                else:
                    done += await self._try_again(task, request)
            verb = "left out" if request.verb == "skip" else "taken"
            await self._desk.store.inline.leases.settle(request.id, f"{done} of {len(aside)} {verb}")
            self._answered.add(request.id)

    async def _try_again(self, task: Task, request: Request) -> bool:
        """Take what was put aside; say whether it is done. The try is noted first: one that ends the process is one."""
        tried = f" [{ENDED} for request {request.id}]"
        if task.error.endswith(tried) and not self._notes.was_clean:
            return False
        body = json.loads(task.body)
        why = task.error.partition(f" [{ENDED} for request ")[0]
        await self._notes.write([task._replace(error=why + tried)])
        error = await self._take(Incoming(body["id"], body["place"], base64.b64decode(body["raw"])), task)
        state, why = (DONE, "") if error is None else (PARKED, as_text(error))
        await self._notes.write([task._replace(state=state, error=why, attempts=task.attempts + 1)])
        return error is None
