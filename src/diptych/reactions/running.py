"""A reaction as a duty: each event is a task, written down before it is done and kept with its outcome.

Rule: what it raises is tried again, then put aside with all later events of its key.
"""

from collections.abc import Mapping
from typing import Any, Final

from diptych.events.codec import Codec
from diptych.events.recorded import RecordedEvent
from diptych.messages import on_behalf_of
from diptych.reactions.reaction import Reaction, key_for
from diptych.store.batches import ViewBatch
from diptych.store.leases import Held
from diptych.subscriptions.apart import apart
from diptych.subscriptions.care import EndedError
from diptych.subscriptions.duty import Desk, Finished, Given, LoadRows, SkippedError, Work, kept_by
from diptych.subscriptions.lane_work import LaneWork
from diptych.subscriptions.tasks import DONE, Task, event_task, tasks_table
from diptych.subscriptions.turn import Turn

_FIRST: Final = 0.5
_LONGEST: Final = 300.0


class ReactionDuty:
    """Runs one reaction. `arguments` are what it wants to be provided."""

    def __init__(self, reaction: Reaction, codec: Codec, arguments: Mapping[str, Any]) -> None:
        self.reaction, self._arguments = reaction, dict(arguments)
        self.name = reaction.declared.name
        self.begins_at_head = reaction.declared.begins == "head"
        self.tasks = tasks_table(self.name)
        self.kept = kept_by(self.name, self.tasks)
        self.takes = codec.names(reaction.events)

    def work(self, desk: Desk, held: Held) -> Work:
        """Return what works on a lane."""
        return LaneWork(self, desk, held)

    def key_of(self, recorded: RecordedEvent) -> str | None:
        """Return what keeps an event's order."""
        return self.reaction.order(recorded)

    async def take(self, given: Given, turn: Turn, load: LoadRows) -> None:
        """Write down what there is to do, and what was done."""
        for finished in given.finished:
            self._finish(finished, turn)
        for taken in given.events:
            turn.put(event_task(taken.key, taken.recorded, turn.lane))

    def _finish(self, finished: Finished, turn: Turn) -> None:
        task, _, error = finished
        if error is None:
            turn.put(task._replace(state=DONE, attempts=task.attempts + 1, error=""))
        elif isinstance(error, SkippedError):
            return  # kept as a record of it
        elif task.attempts + 1 < self.reaction.declared.attempts and not isinstance(error, EndedError):
            turn.again(task, error, min(_FIRST * 2**task.attempts, _LONGEST))
        else:
            turn.park(task, error)

    async def perform(self, task: Task, recorded: RecordedEvent | None, beside: ViewBatch) -> Any:
        """Call the function. :raises TimeoutError: it took too long."""
        assert recorded is not None
        arguments = dict(self._arguments)
        if self.reaction.metadata is not None:
            arguments[self.reaction.metadata] = recorded.metadata
        if self.reaction.key is not None:
            arguments[self.reaction.key] = key_for(self.name, task.id)
        declared = self.reaction.declared
        with on_behalf_of(recorded.row.stream.tenant):
            await apart(declared.function(recorded.event, **arguments), declared.timeout.total_seconds())
