"""From a command, an event or a conversation to everything that belongs to it, and who has taken it up.

Rule: what belongs together is what was written beside the events: command, correlation, causation.
"""

import json
from asyncio import to_thread
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID

from diptych.app.finding import event_at, event_of_token, event_with_id, position_before
from diptych.app.known_duties import KnownDuty
from diptych.errors import DiptychError, NotFoundError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.projections.plan import Definition
from diptych.sagas.row import stream_of
from diptych.sagas.stepped import SagaStepped
from diptych.store.opening import look_at
from diptych.store.outside import CommandTrace, OutsideLog, Sought
from diptych.store.seen import Seen, Watched
from diptych.stream import StreamName

_CHUNK: Final = 10_000  # positions looked through in one statement
_OF_ONE_COMMAND: Final = 1000  # events


class Scan(NamedTuple):
    """How far to look: so many positions, and none recorded before `since` (microseconds)."""

    limit: int = 100_000
    since: int | None = None


class Step(NamedTuple):
    """A command or an event of a conversation. `milliseconds` since its cause, where that was recorded before it."""

    kind: str
    position: int | None
    name: str
    of: str  # an event's stream and version, a command's user
    id: str
    caused_by: str | None
    recorded_at: int
    milliseconds: float | None
    projections: Mapping[str, str]


class Trace(NamedTuple):
    """A conversation in the order of the log. `scanned` is the piece of the log that was looked through."""

    conversation: str
    steps: Sequence[Step]
    scanned: tuple[int, int]
    head: int


async def trace(log: OutsideLog, asked: str, scan: Scan) -> Trace:
    """Follow a command id, correlation id, event id, `Diptych-Position` or position. :raises NotFoundError:"""
    head = (await log.head()).position
    seeds = await _seeds(log, asked)
    conversation = _conversation(seeds[0]) if seeds else asked.lower()
    low, high = await _range(log, seeds, scan, head)
    found = {row.position: row for row in seeds}
    start = high
    while start > low:  # the newest first
        end, start = start, max(start - _CHUNK, low)
        found.update({row.position: row for row in await _mentioning(log, conversation, after=start, through=end)})
    if not found:
        raise await _nothing(log, asked, (low + 1, high), head)
    rows = [found[position] for position in sorted(found)]
    commands = {id: await log.commands_of(UUID(id)) for row in rows if (id := _beside(row).get("command"))}
    return Trace(conversation, _steps(rows, commands, conversation), (low + 1, high), head)


async def _nothing(log: OutsideLog, asked: str, scanned: tuple[int, int], head: int) -> NotFoundError:
    """Say what was looked through, or that what was asked for is no command but a stream."""
    for stream in await log.streams_of(UUID(asked)):
        what = "is the id of a stream, and a trace begins with a command, an event or a request"
        return NotFoundError(f"{asked} {what}. Find one: diptych stream events {stream.category}/{asked}")
    first, last = scanned
    what = f"{log.place} has nothing of {asked} at positions {first} to {last} of {head}"
    wider = "; --limit looks further back, --since TIME sets where to stop" if first > 1 else ""
    return NotFoundError(f"{what}{wider}.")


async def _seeds(log: OutsideLog, asked: str) -> Sequence[StoredEvent]:
    """Find an event to start from; none for a conversation, which no event has the id of."""
    if asked.isdecimal():
        return [await event_at(log, int(asked))]
    try:
        id = UUID(asked)
    except ValueError:
        return [await event_of_token(log, asked)]
    for command in await log.commands_of(id):
        first = max(command.position - _OF_ONE_COMMAND, 0)
        own = await _mentioning(log, f'"command":"{id}"', after=first, through=command.position)
        if own:
            return own
    event = await event_with_id(log, id)
    return [] if event is None else [event]


async def _mentioning(log: OutsideLog, text: str, *, after: int, through: int) -> Sequence[StoredEvent]:
    """Return the events of a piece of the log, in order, whose metadata have this text."""
    positions = await log.positions(Sought(beside=[text]), after=after, through=through)
    return [await event_at(log, position) for position in reversed(positions)]


async def _range(log: OutsideLog, seeds: Sequence[StoredEvent], scan: Scan, head: int) -> tuple[int, int]:
    """Return what to look through: the newest positions, unless what was found is before them."""
    low = max(head - scan.limit, 0)
    if scan.since is not None:
        low = max(low, await position_before(log, scan.since))
    elif seeds and seeds[0].position <= low:
        low = max(seeds[0].position - _OF_ONE_COMMAND, 0)
        return low, min(low + scan.limit, head)
    return low, head


def _beside(row: StoredEvent) -> dict[str, str]:
    found: dict[str, str] = json.loads(row.metadata)
    return found


def _conversation(row: StoredEvent) -> str:
    beside = _beside(row)
    return beside.get("correlation") or beside.get("command") or str(UUID(bytes=row.event_id))


def _steps(
    rows: Sequence[StoredEvent], commands: Mapping[str, Sequence[CommandTrace]], conversation: str
) -> list[Step]:
    steps: list[Step] = []
    times = {str(UUID(bytes=row.event_id)): row.recorded_at for row in rows}
    for row in rows:
        times.setdefault(_beside(row).get("command", ""), row.recorded_at)
    named = set[str]()
    for row in rows:
        beside, id = _beside(row), str(UUID(bytes=row.event_id))
        command = beside.get("command")
        if command is not None and command not in named:
            named.add(command)
            steps.append(_command(row, command, commands.get(command, ()), conversation, times))
        of = f"{row.stream} v{row.version}"  # recorded with its command: no time is between the two
        steps.append(Step("event", row.position, row.type, of, id, command, row.recorded_at, None, {}))
    return steps


def _command(
    first: StoredEvent,
    id: str,
    remembered: Sequence[CommandTrace],
    conversation: str,
    times: Mapping[str, int],
) -> Step:
    """Make a step of the command that stored an event: it has no position of its own."""
    beside = _beside(first)
    cause = beside.get("cause") or beside.get("causation") or (conversation if conversation != id else None)
    name = remembered[0].type if remembered else "(forgotten)"
    user = beside.get("user") or ""
    return Step("command", None, name, user, id, cause, first.recorded_at, _since(cause, first, times), {})


def _since(cause: str | None, row: StoredEvent, times: Mapping[str, int]) -> float | None:
    """Milliseconds from a cause to what it caused; None where its time is not known, or it was stored afterwards."""
    if cause is None or times.get(cause, row.recorded_at + 1) > row.recorded_at:
        return None
    return (row.recorded_at - times[cause]) / 1000


async def with_sagas(log: OutsideLog, duties: Sequence[KnownDuty], codec: Codec, found: Trace) -> Trace:
    """Add the steps of sagas that these events led to: what each took, and what it sent because of that."""
    streams = dict[StreamName, None]()
    for step in found.steps:
        if step.position is None:
            continue
        row = await event_at(log, step.position)
        for duty in [one for one in duties if one.kind == "saga" and row.type in codec.names(one.events)]:
            with suppress(DiptychError):  # what the code cannot read no saga has taken
                key = duty.key_of(codec.recorded(row))
                if key is not None:
                    streams[stream_of(duty.name, key)] = None
    steps, known = list(found.steps), {step.id for step in found.steps}
    for stream in streams:
        for row in await log.read_stream(stream):
            taken = codec.decode(row)
            id = str(UUID(bytes=row.event_id))
            if isinstance(taken, SagaStepped) and id not in known and _is_of(taken, found, known):
                name = f"{taken.cause.kind} {taken.cause.name} -> {', '.join(one.command for one in taken.sent) or '-'}"
                of = f"{row.stream} v{row.version}"
                steps.append(Step("saga", row.position, name, of, id, str(taken.cause.id), row.recorded_at, None, {}))
    return found._replace(steps=_in_order(steps))


def _is_of(taken: SagaStepped, found: Trace, events: Container[str]) -> bool:
    return str(taken.correlation_id) == found.conversation or str(taken.cause.id) in events


def _in_order(steps: Sequence[Step]) -> list[Step]:
    """A command has no position: it stays before its first event."""
    groups: list[list[Step]] = []
    for step in steps:
        if groups and groups[-1][-1].position is None:
            groups[-1].append(step)
        else:
            groups.append([step])
    return [step for group in sorted(groups, key=lambda each: each[-1].position or 0) for step in group]


async def with_projections(url: str, definitions: Sequence[Definition], found: Trace) -> Trace:
    """Say of each event which projections have taken it up: `applied`, `parked`, or how many events they are behind.

    :raises DiptychError: where they are cannot be read.
    """
    names = [Watched(one.name, one.mode == "inline", frozenset()) for one in definitions]
    look = await to_thread(look_at, url, names)
    seen = {one.name: one for one in look.projections}
    takes = {one.name: one.takes for one in definitions}
    steps = [
        step
        if step.position is None
        else step._replace(
            projections={name: _state(seen[name], step.position) for name in seen if step.name in takes[name]}
        )
        for step in found.steps
    ]
    return found._replace(steps=steps)


def _state(seen: Seen, position: int) -> str:
    if any(event.position == position for event in seen.parked):
        return "parked"
    behind = position - seen.checkpoint.position
    return "applied" if behind <= 0 else f"{behind} behind"
