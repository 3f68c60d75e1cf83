"""Workers and lanes in a file of rows: who is alive, who owns what, what is asked of the owners.

Rule: every change is one task of the writer; the clock is this machine's, which all users of a file share.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import apsw

from diptych.errors import ProgrammingError
from diptych.store.batches import Checkpoint
from diptych.store.leases import Board, Held, LaneRow, Pause, Request, Verb, Worker
from diptych.store.sqlite.changes import ANSWER, read_live
from diptych.store.sqlite.generations import read_generations
from diptych.store.sqlite.shapes import NOW
from diptych.store.sqlite.writer import Task

_ALIVE: Final = f"(SELECT worker FROM workers WHERE alive_until > {NOW})"  # noqa: S608 - a constant
_BEAT: Final = f"""
    INSERT INTO workers VALUES (?, ?, ?, {NOW} + ?) ON CONFLICT DO UPDATE
    SET takes = excluded.takes, alive_until = excluded.alive_until"""  # noqa: S608 - a constant
_LANES: Final = """
    SELECT projection, generation, lane, epoch, position, event_id, recorded_at, owner, trouble
    FROM projection_checkpoints ORDER BY projection, generation, lane"""
_CLAIM: Final = f"""
    UPDATE projection_checkpoints SET owner = ?1, epoch = epoch + 1
    WHERE projection = ?2 AND generation = ?3 AND lane = ?4 AND tenant = ''
        AND (owner IN ('', ?1) OR owner NOT IN {_ALIVE})
    RETURNING epoch, position, event_id, recorded_at, attempt"""  # noqa: S608 - constants of this file
_OWNER: Final = "SELECT owner FROM projection_checkpoints WHERE projection = ? AND generation = ? AND lane = ?"
_OWNED: Final = "WHERE projection = ? AND generation = ? AND lane = ? AND owner = ?"
_RELEASE: Final = f"UPDATE projection_checkpoints SET owner = '', trouble = coalesce(?, trouble), attempt = 0 {_OWNED}"  # noqa: S608
_MARK: Final = f"UPDATE projection_checkpoints SET attempt = ?, trouble = ? {_OWNED}"  # noqa: S608 - a constant
_REQUESTS: Final = (
    "SELECT id, projection, generation, lane, verb, key, position, reason, asked_by, asked_at, outcome "
    "FROM projection_requests "
)
_ASK: Final = f"INSERT INTO projection_requests VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, {NOW}, '') RETURNING id"  # noqa: S608
_ONE: Final = f"{_REQUESTS} WHERE id = ?"
_LAST: Final = (
    f"{_REQUESTS} WHERE (?1 IS NULL OR projection = ?1) AND (?2 IS NULL OR verb = ?2) ORDER BY id DESC LIMIT ?3"
)
_CONCERNED: Final = """
    SELECT c.projection, c.generation, c.lane FROM projections p
    JOIN projection_checkpoints c ON c.projection = p.projection AND c.generation = coalesce(?5, p.live)
    WHERE p.projection = coalesce(?1, p.projection) AND c.lane = coalesce(?4, c.lane)
        AND (?2 = '' OR ?4 IS NOT NULL OR c.lane IN (
            SELECT lane FROM parked_events e
            WHERE e.projection = c.projection AND e.generation = c.generation AND e.key = ?2))
        AND (?3 = 0 OR ?2 <> '' OR c.position < ?3)
    ORDER BY c.lane"""
_PAUSE: Final = f"""
    UPDATE projections SET paused_until = coalesce({NOW} + ?1, 0), pause_reason = ?2
    WHERE projection = ?3
        AND (NOT ?4 OR pause_reason = ?2 OR paused_until IS NULL OR paused_until BETWEEN 1 AND {NOW})"""  # noqa: S608 - a constant
_RESUME: Final = """
    UPDATE projections SET paused_until = NULL, pause_reason = ''
    WHERE projection = ?1 AND pause_reason = coalesce(?2, pause_reason)"""


def read_board(connection: apsw.Connection) -> Board:
    """Return all that steers the workers of a file."""
    workers = connection.execute(
        f"SELECT worker, place, takes FROM workers WHERE alive_until > {NOW} ORDER BY worker"  # noqa: S608 - a constant
    )
    paused = connection.execute(
        f"SELECT projection, paused_until, pause_reason FROM projections WHERE paused_until = 0 OR paused_until > {NOW}"  # noqa: S608
    )
    return Board(
        now=connection.execute(f"SELECT {NOW}").get,
        workers=[Worker(worker, place, frozenset(json.loads(takes))) for worker, place, takes in workers],
        generations=read_generations(connection),
        lanes=[_lane(*row) for row in connection.execute(_LANES)],
        paused={projection: Pause(until or None, reason) for projection, until, reason in paused},
        requests=[Request(*row) for row in connection.execute(f"{_REQUESTS} WHERE outcome = '' ORDER BY id")],
    )


def _lane(projection: str, generation: int, lane: int, epoch: int, *rest: Any) -> LaneRow:
    position, event_id, recorded_at, owner, trouble = rest
    checkpoint = Checkpoint(position, epoch, event_id, recorded_at)
    return LaneRow(projection, generation, lane, epoch, checkpoint, owner, trouble)


class SqliteLeases:
    """The workers and lanes of one view store. `submit` gives a task to its writer, `read` runs on a reader."""

    def __init__(
        self,
        submit: Callable[[Task[Any]], Awaitable[Any]],
        read: Callable[[Callable[[apsw.Connection], Board]], Awaitable[Board]],
    ) -> None:
        self._submit, self._read = submit, read

    async def board(self) -> Board:
        """Look, and change nothing."""
        return await self._read(read_board)

    async def beat(self, worker: Worker, seconds: float, *, dead: Sequence[str] = ()) -> Board:
        """Say that this worker is alive for so many seconds from now, and that those are not; then look."""

        def work(connection: apsw.Connection) -> Board:
            takes = json.dumps(sorted(worker.takes))
            connection.execute(_BEAT, (worker.id, worker.place, takes, int(seconds * 1_000_000)))
            connection.executemany("DELETE FROM workers WHERE worker = ?", [(each,) for each in dead])
            return read_board(connection)

        board: Board = await self._submit(Task(work))
        return board

    async def claim(self, worker: str, projection: str, generation: int, lanes: Sequence[int]) -> Sequence[Held]:
        """Take lanes that nobody alive owns, or that this worker owns. Returns those it got."""

        def work(connection: apsw.Connection) -> list[Held]:
            held: list[Held] = []
            for lane in lanes:
                before = connection.execute(_OWNER, (projection, generation, lane)).get
                rows: list[Any] = connection.execute(_CLAIM, (worker, projection, generation, lane)).fetchall()
                for row in rows:
                    epoch, position, event_id, recorded_at, attempt = row
                    checkpoint = Checkpoint(position, epoch, event_id, recorded_at)
                    held.append(Held(lane, epoch, checkpoint, before in ("", worker), attempt))
            return held

        found: list[Held] = await self._submit(Task(work))
        return found

    async def release(
        self, worker: str, projection: str, generation: int, lanes: Sequence[int], *, trouble: str | None = None
    ) -> None:
        """Let go of lanes, those of them that this worker still owns."""
        rows = [(trouble, projection, generation, lane, worker) for lane in lanes]
        await self._submit(Task(lambda connection: connection.executemany(_RELEASE, rows)))

    async def leave(self, worker: str) -> None:
        """Let go of every lane, and be no worker any more."""

        def work(connection: apsw.Connection) -> None:
            connection.execute("UPDATE projection_checkpoints SET owner = '', attempt = 0 WHERE owner = ?", (worker,))
            connection.execute("DELETE FROM workers WHERE worker = ?", (worker,))

        await self._submit(Task(work))

    async def mark(
        self, worker: str, projection: str, generation: int, lane: int, *, attempt: int = 0, trouble: str = ""
    ) -> None:
        """Note on a lane of this worker what is tried, or why it stands. A commit to the lane wipes both."""
        row = (attempt, trouble, projection, generation, lane, worker)
        await self._submit(Task(lambda connection: connection.execute(_MARK, row)))

    async def ask(
        self, projection: str, verb: Verb, *, key: str = "", position: int = 0, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owners of the live generation's lanes. Returns one request for each lane concerned."""
        at = position if verb == "skip" else 0
        return await self._ask((projection, key, at, None, None), (verb, key, position, reason, by))

    async def ask_generation(
        self, generation: int, verb: Verb, *, key: str = "", position: int = 0, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owners of the lanes of a generation. Returns one request for each lane concerned."""
        at = position if verb == "skip" else 0
        return await self._ask((None, key, at, None, generation), (verb, key, position, reason, by))

    async def ask_lane(
        self, projection: str, verb: Verb, lane: int, *, key: str, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owner of one of the live generation's lanes; nothing is returned where it has no such lane."""
        return await self._ask((projection, key, 0, lane, None), (verb, key, 0, reason, by))

    async def _ask(self, concerned: tuple[Any, ...], what: tuple[Any, ...]) -> Sequence[Request]:
        def work(connection: apsw.Connection) -> list[Request]:
            made: list[Request] = []
            for lane in connection.execute(_CONCERNED, concerned).fetchall():
                values = (*lane, *what)
                made.append(Request(*connection.execute(_ONE, (connection.execute(_ASK, values).get,)).get))
            return made

        found: list[Request] = await self._submit(Task(work))
        return found

    async def settle(self, request: int, outcome: str) -> None:
        """Note that a request is done, and how. :raises ProgrammingError: it does not say how."""
        if not outcome:
            raise ProgrammingError("A request is settled by saying what became of it.")
        await self._submit(Task(lambda connection: connection.execute(ANSWER, (outcome, request))))

    async def note(self, projection: str, verb: str, *, reason: str, by: str, outcome: str) -> None:
        """Write down something that was done to a projection otherwise."""

        def work(connection: apsw.Connection) -> None:
            values = (projection, read_live(connection, projection), 0, verb, "", 0, reason, by)
            number = connection.execute(_ASK, values).get
            connection.execute(ANSWER, (outcome, number))

        await self._submit(Task(work))

    async def requests(
        self, projection: str | None = None, *, verb: Verb | None = None, limit: int = 100
    ) -> Sequence[Request]:
        """Return the last requests, done or not, newest first; with a `verb` those of it alone."""
        values = (projection, verb, limit)
        work = Task(lambda connection: [Request(*row) for row in connection.execute(_LAST, values)])
        found: list[Request] = await self._submit(work)
        return found

    async def pause(
        self, projection: str, seconds: float | None, *, reason: str, by: str, yields: bool = False
    ) -> None:
        """From now on it shall not move, for so long, or until `resume`."""
        why = f"{reason} ({by})" if by else reason
        values = (None if seconds is None else int(seconds * 1_000_000), why, projection, yields)
        await self._submit(Task(lambda connection: connection.execute(_PAUSE, values)))

    async def resume(self, projection: str, *, reason: str | None = None) -> None:
        """Let it move again; with a `reason`, only if that is why it stands."""
        await self._submit(Task(lambda connection: connection.execute(_RESUME, (projection, reason))))
