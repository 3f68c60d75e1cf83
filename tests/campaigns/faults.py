"""Faults to plant into a true history, one for each way in which a store can lie; each says if it found a place."""

from collections.abc import Callable
from random import Random

from tests.campaigns.history import NEVER, Entry, History, Operation, Write

Fault = Callable[[History, Random], bool]


def _numbered(history: History, entries: list[Entry]) -> None:
    """Give the log these entries with fresh positions and versions, as a store that hides its fault would."""
    versions: dict[str, int] = {}
    history.log.clear()
    for position, entry in enumerate(entries, start=1):
        versions[entry.stream] = versions.get(entry.stream, 0) + 1
        history.log.append(Entry(position, entry.stream, versions[entry.stream], entry.event_id))


def _of(history: History, outcome: str, *, least: int = 1) -> list[Operation]:
    return [o for o in history.operations if o.outcome == outcome and len(o.event_ids) >= least]


def lost(history: History, random: Random) -> bool:
    """An acknowledged append is gone, and nobody reads from the numbers."""
    gone = set(random.choice(_of(history, "stored")).event_ids)
    _numbered(history, [entry for entry in history.log if entry.event_id not in gone])
    history.reads.clear()
    return True


def lost_tail(history: History, random: Random) -> bool:
    """The last acknowledged append is gone, as after a power cut without a sync."""
    last = max(_of(history, "stored"), key=lambda operation: operation.position)
    del history.log[last.position - len(last.event_ids) :]
    history.reads.clear()
    return True


def doubled(history: History, random: Random) -> bool:
    """An append is stored twice."""
    again = set(random.choice(_of(history, "stored")).event_ids)
    _numbered(history, [*history.log, *(entry for entry in history.log if entry.event_id in again)])
    return True


def command_twice(history: History, random: Random) -> bool:
    """A command that was told "done before" took effect again."""
    duplicates = _of(history, "duplicate")
    if not duplicates:
        return False
    operation = random.choice(duplicates)
    added = [Entry(0, write.stream, 0, event) for write in operation.writes for event in write.events]
    _numbered(history, [*history.log, *added])
    operation.outcome, operation.finished = "unknown", NEVER
    operation.writes = tuple(Write(write.stream, -1, write.events) for write in operation.writes)
    return True


def reordered(history: History, random: Random) -> bool:
    """Two neighbouring appends changed places."""
    single = [o for o in _of(history, "stored") if len(o.event_ids) == 1 and o.position < len(history.log)]
    index = random.choice(single).position - 1
    entries = list(history.log)
    entries[index], entries[index + 1] = entries[index + 1], entries[index]
    _numbered(history, entries)
    history.reads.clear()
    return True


def two_winners(history: History, random: Random) -> bool:
    """A loser of a conflict was let in too, behind the winner."""
    losers = [o for o in _of(history, "conflict") if len(o.writes) == 1 and o.writes[0].expected >= 0]
    if not losers:
        return False
    operation = random.choice(losers)
    stream = operation.writes[0].stream
    added = [Entry(0, stream, 0, event) for event in operation.event_ids]
    _numbered(history, [*history.log, *added])
    operation.outcome, operation.position = "stored", len(history.log)
    operation.versions, operation.finished = (history.log[-1].version,), NEVER - 1
    return True


def conflict_without_winner(history: History, random: Random) -> bool:
    """A conflict names a version that no one wrote."""
    losers = _of(history, "conflict")
    if not losers:
        return False
    operation = random.choice(losers)
    operation.conflict_actual = max(entry.version for entry in history.log) + 1
    return True


def conflict_long_past(history: History, random: Random) -> bool:
    """A conflict was judged by a stale look at the stream."""
    losers = [o for o in _of(history, "conflict") if o.conflict_actual > 3]
    first = min((o.finished for o in _of(history, "stored")), default=0)
    losers = [o for o in losers if o.writes[0].expected not in (0, -2) and o.conflict_stream == o.writes[0].stream]
    losers = [o for o in losers if o.invoked > first and _second_was_seen(history, o)]
    if not losers:
        return False
    random.choice(losers).conflict_actual = 1
    return True


def _second_was_seen(history: History, operation: Operation) -> bool:
    second = next(e.event_id for e in history.log if e.stream == operation.conflict_stream and e.version == 2)
    writer = next(o for o in history.operations if second in o.event_ids)
    return writer.outcome == "stored" and writer.finished < operation.invoked


def conflict_with_what_was_expected(history: History, random: Random) -> bool:
    """A writer that expected the right version was refused."""
    losers = [o for o in _of(history, "conflict") if o.writes[0].expected >= 0]
    if not losers:
        return False
    operation = random.choice(losers)
    operation.conflict_stream, operation.conflict_actual = operation.writes[0].stream, operation.writes[0].expected
    return True


def stored_though_refused(history: History, random: Random) -> bool:
    """A client was told no, and its events are there."""
    operation = random.choice(_of(history, "stored"))
    operation.outcome = "refused"
    return True


def half_an_append(history: History, random: Random) -> bool:
    """An append whose client never got an answer is there in part."""
    candidates = _of(history, "stored", least=2)
    operation = random.choice(candidates)
    operation.outcome, operation.finished = "unknown", NEVER
    gone = operation.event_ids[-1]
    _numbered(history, [entry for entry in history.log if entry.event_id != gone])
    history.reads.clear()
    return True


def torn_apart(history: History, random: Random) -> bool:
    """Another writer's event stands in the middle of an append."""
    candidates = _of(history, "stored", least=2)
    operation = random.choice([o for o in candidates if o.position < len(history.log)] or candidates)
    moved = operation.event_ids[-1]
    entries = [entry for entry in history.log if entry.event_id != moved]
    entries.append(next(entry for entry in history.log if entry.event_id == moved))
    if entries == history.log:
        return False
    _numbered(history, entries)
    return True


def real_time_broken(history: History, random: Random) -> bool:
    """Something stands before an append that was acknowledged before it began."""
    operation = random.choice([o for o in _of(history, "stored") if o.position > 3])
    earlier = next(o for o in _of(history, "stored") if o.position < operation.position)
    earlier.invoked, earlier.finished = operation.finished + 1, NEVER - 1
    return True


def gap_in_positions(history: History, random: Random) -> bool:
    """A position was given to nobody."""
    at = random.randrange(len(history.log))
    history.log[at:] = [entry._replace(position=entry.position + 1) for entry in history.log[at:]]
    return True


def gap_in_versions(history: History, random: Random) -> bool:
    """A stream jumps over a version."""
    at = random.randrange(len(history.log))
    stream = history.log[at].stream
    moved = [e._replace(version=e.version + 1) if e.stream == stream else e for e in history.log[at:]]
    history.log[at:] = moved
    return True


def nobody_wrote_it(history: History, random: Random) -> bool:
    """A stored event was replaced by another."""
    at = random.randrange(len(history.log))
    history.log[at] = history.log[at]._replace(event_id="forged")
    return True


def wrong_position_told(history: History, random: Random) -> bool:
    """An acknowledgement names a position that is not its own."""
    random.choice(_of(history, "stored")).position += 1
    return True


def wrong_version_told(history: History, random: Random) -> bool:
    """An acknowledgement names a version that is not its own."""
    operation = random.choice(_of(history, "stored"))
    operation.versions = (operation.versions[0] + 1, *operation.versions[1:])
    return True


def wrong_stream(history: History, random: Random) -> bool:
    """An event went into another stream than asked."""
    operation = random.choice(_of(history, "stored"))
    event = random.choice(operation.event_ids)
    _numbered(history, [e._replace(stream="elsewhere") if e.event_id == event else e for e in history.log])
    return True


def duplicate_without_effect(history: History, random: Random) -> bool:
    """A client was told "done before" of a command that never was."""
    conflicts = _of(history, "conflict")
    if not conflicts:
        return False
    operation = random.choice(conflicts)
    operation.outcome, operation.command, operation.position = "duplicate", "never done", 1
    return True


def duplicate_answered_otherwise(history: History, random: Random) -> bool:
    """The second answer to a command is not the first."""
    duplicates = _of(history, "duplicate")
    if not duplicates:
        return False
    random.choice(duplicates).position -= 1
    return True


def rejected_though_done(history: History, random: Random) -> bool:
    """A command that took effect was answered with a conflict when sent again."""
    done: dict[str | None, int] = {o.command: o.finished for o in _of(history, "stored") if o.command}
    again = [o for o in _of(history, "duplicate") if done.get(o.command, NEVER) < o.invoked]
    if not again:
        return False
    operation = random.choice(again)
    operation.outcome, operation.conflict_stream = "conflict", operation.writes[0].stream
    return True


def skipped(history: History, random: Random) -> bool:
    """A reader went past a position it never got: what naive readers do under load."""
    pages = [index for index, read in enumerate(history.reads) if len(read.events) > 1]
    if not pages:
        return False
    index = random.choice(pages)
    events = list(history.reads[index].events)
    del events[random.randrange(len(events))]
    history.reads[index] = history.reads[index]._replace(events=tuple(events))
    return True


def changed_behind(history: History, random: Random) -> bool:
    """A reader saw an event that is not in the final log."""
    pages = [index for index, read in enumerate(history.reads) if read.events]
    index = random.choice(pages)
    (position, _), *rest = history.reads[index].events
    history.reads[index] = history.reads[index]._replace(events=((position, "gone later"), *rest))
    return True


def scanned_past_head(history: History, random: Random) -> bool:
    """A page claims to have scanned what was not there yet."""
    index = random.randrange(len(history.reads))
    read = history.reads[index]
    history.reads[index] = read._replace(scanned=max(read.head, read.after) + 1)
    return True


def stale_head(history: History, random: Random) -> bool:
    """A reader does not see what was acknowledged before it asked."""
    first = min(o.finished for o in _of(history, "stored"))
    late = [index for index, read in enumerate(history.reads) if read.invoked > first]
    index = random.choice(late)
    history.reads[index] = history.reads[index]._replace(head=0, scanned=history.reads[index].after, events=())
    return True


FAULTS: dict[Fault, str] = {
    lost: "L1",
    lost_tail: "L1",
    doubled: "C1",
    command_twice: "C1",
    reordered: "L1",
    two_winners: "L6",
    conflict_without_winner: "L6",
    conflict_long_past: "L6",
    conflict_with_what_was_expected: "L6",
    stored_though_refused: "L7",
    half_an_append: "L7",
    torn_apart: "L4",
    real_time_broken: "L4",
    gap_in_positions: "L2",
    gap_in_versions: "L3",
    nobody_wrote_it: "L8",
    wrong_position_told: "L1",
    wrong_version_told: "L3",
    wrong_stream: "L8",
    duplicate_without_effect: "C1",
    duplicate_answered_otherwise: "C1",
    rejected_though_done: "C1",
    skipped: "L5",
    changed_behind: "L5",
    scanned_past_head: "P4",
    stale_head: "L4",
}
