"""What a process does with one lane of a duty: turns, each of which commits once, and tasks between them.

A turn takes in what was performed, timers that are due, and a page of the log. Its events, rows, new tasks and the
lane's checkpoint are one append (S1); after that append, and so never for an event that a fail-over may lose, the tasks
are performed.
Rule: what is in memory may be thrown away at any moment; the rows and the log say how to go on.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from diptych.errors import ProgrammingError, RowChangedError
from diptych.events.recorded import RecordedEvent, StoredEvent, StoredMetadata
from diptych.store.batches import Answer
from diptych.store.leases import Held, Request
from diptych.subscriptions.care import Care
from diptych.subscriptions.duty import LANES, Desk, Finished, Given, SkippedError, Taken, TaskDuty
from diptych.subscriptions.failures import named
from diptych.subscriptions.in_hand import InHand
from diptych.subscriptions.lane_place import SAVE, LanePlace
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import SharedPage
from diptych.subscriptions.shelf import Shelf
from diptych.subscriptions.tasks import (
    EVENT,
    PARKED,
    SKIPPED,
    STEP,
    TAKEN,
    TIMER,
    WAITING,
    Task,
    event_task,
    failed_first,
    id_of,
)
from diptych.subscriptions.timers import Timers
from diptych.subscriptions.turn import Turn

_AT_ONCE: Final = 200  # events, timers and outcomes each, in one turn
_MOST: Final = 1000  # tasks in hand; beyond, events stay in the log
_SHORT: Final = 0.01  # seconds to the next look at a timer that is due, and may not act yet
_LOOK: Final = 0.05  # seconds between two looks at a clock that is not the machine's
_CLEAN: Final = 60_000_000  # microseconds between two times that old outcomes are thrown away
_KEPT: Final = 30 * 86_400_000_000


class LaneWork:
    """Works on one lane, from a claim to the next."""

    def __init__(self, duty: TaskDuty, desk: Desk, held: Held) -> None:
        self.duty, self.desk, self.lane = duty, desk, held.lane
        self._place = LanePlace(duty, desk, held)
        self._shelf = Shelf(desk.store, duty.tasks, held.lane)
        self._wake = asyncio.Event()
        self._in_hand = InHand(self._perform, self._wake.set, desk.pace)
        self._timers = Timers(desk.store, self._shelf)
        self._care = Care(desk.store, duty.name, duty.tasks, desk.generation, desk.ward)
        self._is_clean = held.is_clean
        self._parked: dict[str, set[UUID]] = {}  # what failed, by key
        self._freed: set[str] = set()  # keys of which nothing that failed is put aside any more
        self._requests: Sequence[Request] = ()
        self._answered: set[int] = set()
        self._cleaned_at = 0
        self._taking: Sequence[Finished] = ()  # what a turn that is being written takes in
        self._is_at_rest = False

    # --- what it is told, and tells ----------------------------------------------------------------------------------

    def is_asked(self, requests: Sequence[Request]) -> None:
        """Learn what is asked of the lane's owner."""
        self._requests = requests
        if requests:
            self._wake.set()

    @property
    def is_paused(self) -> bool:
        """Whether nothing is to be taken, and nothing more begun."""
        return not self._in_hand.may_begin.is_set()

    @is_paused.setter
    def is_paused(self, value: bool) -> None:
        if value:
            self._in_hand.may_begin.clear()
        else:
            self._in_hand.may_begin.set()

    def wake(self) -> None:
        """Turn at once."""
        self._wake.set()

    @property
    def position(self) -> int:
        """How far the log is taken in."""
        return self._place.position

    @property
    def error(self) -> str | None:
        """What is to be done and is not done yet, and why."""
        return self._in_hand.hold_up

    def is_settled(self, head: int) -> bool:
        """Whether the log is read so far, and all that followed is done, but timers to come and what was put aside."""
        is_at_rest = self._is_at_rest and not self._timers.are_due(self.desk.now()) and not len(self._in_hand)
        return is_at_rest and self._place.position >= head

    def drop(self) -> None:
        """Stop what is still being performed."""
        self._in_hand.stop()
        self._care.drop()

    # --- turns -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn until cancelled. :raises CheckpointMovedError: another has the lane. :raises StoreError:"""
        self.desk.reader.listen(self._wake)
        try:
            await self._begin()
            while True:
                self._wake.clear()
                self._is_at_rest = False
                if self.is_paused:  # what was begun before ends, and what an operator asks is done
                    await _write_down(self)
                    await self._do_requests()
                if self.is_paused or not await self._turn():
                    self._is_at_rest = True
                    await self._sleep()
        finally:
            self.desk.reader.hear_no_more(self._wake)

    async def end(self) -> None:
        """Finish what is being performed, if it takes no longer than the desk's patience, and write it down."""
        await self._in_hand.end(self.desk.patience)
        if await self._place.is_sure(self.desk.patience):
            self._in_hand.settled(self._taking)
            await _write_down(self)
            await self._place.commit(self._new_turn())

    async def _begin(self) -> None:
        await self._place.begin()
        for task in await self._shelf.parked():
            _note(self, task)
        self._freed = {key for key, failed in self._parked.items() if not failed}
        await self._timers.begin()
        now = self.desk.now()
        unfinished = self._care.begin(await self._shelf.unfinished(), now, is_clean=self._is_clean)
        if self._care.is_narrow:
            self._in_hand.narrow()
        for task in unfinished:
            self._in_hand.add(task, now)

    async def _turn(self) -> bool:
        """Do one step; False if there was nothing to do."""
        turn = self._new_turn()
        await self._do_requests()
        finished = self._in_hand.finished(_AT_ONCE)
        turn.rests_on(_failed(finished))
        place, is_full = self._place, len(self._in_hand) >= _MOST
        page = None if is_full else await self.desk.reader.page(place.position, place.event_id)
        timers = await self._due(turn)
        events, last = ([], None) if page is None else _events_of(self, page, turn)
        awaited = {one.key for one in events} if self._care.is_wary else self._in_hand.awaited
        given = Given(finished, timers, events, awaited=awaited, failed=self._parked)
        await self.duty.take(given, turn, self._load)
        await self._commit(turn, given, last)
        if last is None:
            await _clean(self, turn.now)
        return last is not None or not turn.is_empty or bool(finished)

    async def _due(self, turn: Turn) -> Sequence[Task]:
        """Return timers that act now; those of a key that was put aside are put aside, too."""
        due = await self._timers.take(turn.now, self._place.position)
        for one in due:
            if one.key in self._parked:
                turn.put(one._replace(state=PARKED))
        return [one for one in due if one.key not in self._parked]

    async def _commit(self, turn: Turn, given: Given, last: StoredEvent | None = None) -> None:
        _put_aside_what_follows(self, turn)
        self._taking = given.finished
        await self._place.commit(turn, to=last)
        self._in_hand.settled(given.finished)
        self._taking = ()
        self._is_committed(turn, {id_of(one.recorded): one.recorded for one in given.events}, given.finished)

    def _is_committed(self, turn: Turn, events: dict[UUID, RecordedEvent], finished: Sequence[Finished]) -> None:
        """Take in hand what is owed now, and let go of what is not."""
        self._freed |= {one.task.key for one in finished if turn.frees(self._parked.get(one.task.key, ()))}
        for task in turn.tasks.values():
            if task.state == PARKED:
                _note(self, task)
                self._in_hand.let_go(task)
                self._care.over(task.id)
            elif task.kind == TIMER and task.state == WAITING:
                self._timers.add(task)
        for id in turn.dropped - {one.task.id for one in finished}:
            self._in_hand.forget(id)
        for id in turn.dropped | {one.task.id for one in finished}:
            self._care.over(id)
        if not self._care.is_narrow:
            self._in_hand.widen()
        for one in finished:
            if turn.tasks.get(one.task.id, one.task).state != WAITING or one.task.id in turn.dropped:
                self._in_hand.over(one.task, turn.now)
        if any(_is_through(one.task, turn) for one in finished):
            self._timers.look_again(turn.now)
        if events:
            self._care.owes(turn.tasks.values())
        for task in sorted(turn.tasks.values(), key=lambda each: each.number):
            if task.state == WAITING and task.kind != TIMER:
                self._in_hand.add(task, turn.now, events.get(task.id))

    # --- between turns -----------------------------------------------------------------------------------------------

    async def _perform(self, task: Task, recorded: RecordedEvent | None) -> Any:
        if task.state == TAKEN:
            return None
        async with self._care.tried(task):
            return await _try(self, task, recorded)

    async def _do_requests(self) -> None:
        """Do what an operator asks; and go on where a saga itself has cancelled what failed."""
        if self._freed:
            await _free(self)
        requests, self._requests = self._requests, ()
        for request in requests:
            if request.id not in self._answered:
                await _do(self, request)
                self._answered.add(request.id)

    async def _sleep(self) -> None:
        seconds = SAVE
        if self._timers.next_due is not None and not self.is_paused:
            left = (self._timers.next_due - self.desk.now()) / 1_000_000
            seconds = min(seconds, max(left, _SHORT) if self.desk.is_real_time else _LOOK)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _load(self, loads: Any) -> Any:
        return await self.desk.store.inline.load(self.desk.generation, loads)

    def _new_turn(self) -> Turn:
        return self.desk.turn(self.lane, self.duty.tasks)


async def _try(work: LaneWork, task: Task, recorded: RecordedEvent | None) -> Any:
    """Perform a task, its event read if it is one; a command's append says that it was taken."""
    if task.kind == EVENT and recorded is None:
        row = await work.desk.reader.at(task.number // STEP)
        if row is None:
            raise ProgrammingError(f"{work.duty.name}: position {task.number // STEP} is not in the log any more")
        recorded = work.desk.reader.codec.recorded(row)
    return await work.duty.perform(task, recorded, work._care.beside(task._replace(state=TAKEN)))


def _put_aside_what_follows(work: LaneWork, turn: Turn) -> None:
    for task in [each for each in turn.tasks.values() if each.state == PARKED and each.error]:
        for later in work._in_hand.behind(task):
            turn.put(later._replace(state=PARKED))


async def _write_down(work: LaneWork) -> None:
    """Take in what was performed, and nothing new."""
    while finished := work._in_hand.finished(_AT_ONCE):
        turn = work._new_turn()
        turn.rests_on(_failed(finished))
        given = Given(finished, failed=work._parked)
        await work.duty.take(given, turn, work._load)
        await work._commit(turn, given)


async def _clean(work: LaneWork, now: int) -> None:
    """Throw old outcomes away, now and then."""
    if now < work._cleaned_at + _CLEAN:
        return
    old = await work._shelf.outdated(now - _KEPT, _AT_ONCE)
    if len(old) == _AT_ONCE:
        work._wake.set()  # there are more
    else:
        work._cleaned_at = now
    turn = work._new_turn()
    for one in old:
        turn.drop(one.id)
    if old:
        await work._commit(turn, Given(()))


async def _do(work: LaneWork, request: Request) -> None:
    """Try again what was put aside, or leave one thing of it out. It is answered in the same commit."""
    aside = [one for one in await work._shelf.parked() if request.key in ("", one.key)]
    skipped = failed_first(aside) if request.verb == "skip" else []
    aside = [one for one in aside if not skipped or one.key == skipped[0].key]
    released, keys = [one for one in aside if one not in skipped], {one.key for one in aside}
    turn = work._new_turn()
    finished = [Finished(one, None, SkippedError(request.reason)) for one in skipped]
    await work.duty.take(Given(finished, released=keys), turn, work._load)
    for one in skipped:
        if one.id not in turn.dropped:
            turn.put(one._replace(state=SKIPPED, error=f"{one.error} (skipped: {request.reason})"))
    _release(work, turn, released, keys)
    outcome = f"{len(released)} tried again" + (f", {len(skipped)} left out" if skipped else "")
    turn.answer = Answer(request.id, outcome if aside else "nothing was put aside")
    await work._commit(turn, Given(()))


async def _free(work: LaneWork) -> None:
    """Go on with keys of which nothing is left to be tried again."""
    keys, work._freed = work._freed, set()
    aside = [one for one in await work._shelf.parked() if one.key in keys]
    turn = work._new_turn()
    await work.duty.take(Given((), released=keys), turn, work._load)
    _release(work, turn, aside, keys)
    await work._commit(turn, Given(()))


def _release(work: LaneWork, turn: Turn, aside: Sequence[Task], keys: Collection[str]) -> None:
    for one in aside:
        turn.put(one._replace(state=WAITING, attempts=0, error="", due_at=one.due_at if one.kind == TIMER else 0))
    for key in keys:
        work._parked.pop(key, None)


def _note(work: LaneWork, aside: Task) -> None:
    """Know that a task is put aside, and whether it is one that failed."""
    failed = work._parked.setdefault(aside.key, set())
    if aside.error:
        failed.add(aside.id)


def _failed(finished: Sequence[Finished]) -> list[Task]:
    return [one.task for one in finished if one.error is not None and not isinstance(one.error, RowChangedError)]


def _is_through(task: Task, turn: Turn) -> bool:
    """Whether it is an event that waited to be taken and does so no more: a timer may have waited for it."""
    return task.kind == EVENT and (task.id in turn.dropped or turn.tasks.get(task.id, task).state == PARKED)


def _key_of(duty: TaskDuty, recorded: RecordedEvent) -> str | None:
    try:
        return duty.key_of(recorded)
    except (Exception, SystemExit) as error:  # it may not end the process
        where = f"the key of {recorded.row.type} at position {recorded.row.position}"
        why = f"{duty.name}: {where} cannot be told: {named(error)}"
        raise ProgrammingError(
            f"{why}. It stands there, for the event may be of any lane; mend the function."
        ) from error


def _events_of(work: LaneWork, page: SharedPage, turn: Turn) -> tuple[list[Taken], StoredEvent | None]:
    """Choose the events of a page that are this lane's, and say which was looked at last, None if none could be.

    Those of a key that was put aside are put aside, too. What is before one that stops the lane is taken in, and what
    is in hand is done, before it does: after each stop all of that would be begun again, and broken off again.
    """
    found: list[Taken] = []
    first = index = work.position - page.after
    for index in range(first, len(page.rows)):
        if page.types[index] not in work.duty.takes:
            continue
        row = page.rows[index]
        try:
            recorded = RecordedEvent(page.event(index), StoredMetadata(row), row)
            key = _key_of(work.duty, recorded)
        except Exception:
            if index == first and not len(work._in_hand):
                raise
            return found, page.rows[index - 1] if index > first else None
        if key is None or lane_of(key, LANES) != work.lane:
            continue
        if key in work._parked:
            turn.put(event_task(key, recorded, work.lane)._replace(state=PARKED))
            continue
        found.append(Taken(key, recorded))
        if len(found) == _AT_ONCE:
            break
    return found, page.rows[index]
