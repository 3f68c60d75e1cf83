"""Workers and lanes in a schema: who is alive, who owns what, what is asked of the owners.

Rule: each method is one statement, with the clock of the server that runs it.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from diptych.errors import ProgrammingError
from diptych.store.batches import Checkpoint
from diptych.store.leases import Board, Held, LaneRow, Pause, Request, Verb, Worker
from diptych.store.postgres.changes import ANSWER
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.generations import GENERATIONS, Lending, Seen, generation_of
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.shapes import NOW

_FORGET_AFTER: Final = 3_600_000_000  # microseconds that a worker is remembered after its end
_CLOCK: Final = f"clock AS MATERIALIZED (SELECT {NOW} AS now)"
_BEAT: Final = f"""
WITH {_CLOCK},
    beaten AS (
        INSERT INTO diptych.workers SELECT $1, $2, $3::bigint[], now + $4 FROM clock
        ON CONFLICT (worker) DO UPDATE SET takes = excluded.takes, alive_until = excluded.alive_until),
    ended AS (DELETE FROM diptych.workers WHERE worker = ANY($5)),
    forgotten AS (DELETE FROM diptych.workers WHERE worker IN (
        SELECT worker FROM diptych.workers CROSS JOIN clock
        WHERE alive_until < now - {_FORGET_AFTER} AND worker <> $1 AND worker <> ALL($5)
        FOR UPDATE OF workers SKIP LOCKED))"""  # noqa: S608 - constants of this file
_REQUEST: Final = "id, projection, generation, lane, verb, key, position, reason, asked_by, asked_at, outcome"
_BOARD: Final = f"""
SELECT store.swaps, clock.now,
    (SELECT json_agg(json_build_array(worker, place, takes) ORDER BY worker)
     FROM diptych.workers WHERE alive_until > clock.now AND worker <> $1 AND worker <> ALL($5::text[])),
    (SELECT json_agg(json_build_array(g.projection, g.generation, g.state, g.version, g.shape, g.lanes, g.code,
        g.tables, g.is_indexed, g.since) ORDER BY g.generation) FROM ({GENERATIONS}) g),
    (SELECT json_agg(json_build_array(projection, generation, lane, epoch, position, encode(event_id, 'hex'),
        recorded_at, owner, trouble) ORDER BY projection, generation, lane)
     FROM diptych.projection_checkpoints WHERE tenant = ''),
    (SELECT json_agg(json_build_array(projection, paused_until, pause_reason))
     FROM diptych.projections WHERE paused_until = 0 OR paused_until > clock.now),
    (SELECT json_agg(json_build_array({_REQUEST}) ORDER BY id) FROM diptych.projection_requests WHERE outcome = '')
FROM clock CROSS JOIN diptych.view_store store"""  # noqa: S608 - constants
_LOOK: Final = f"WITH {_CLOCK} {_BOARD.replace('$5', '$2')}"
_CLAIM: Final = f"""
WITH {_CLOCK},
    seen AS MATERIALIZED (
        SELECT c.lane, c.epoch, c.owner FROM diptych.projection_checkpoints c
        WHERE c.projection = $2 AND c.generation = $3 AND c.tenant = '' AND c.lane = ANY($4)
            AND (c.owner IN ('', $1) OR NOT EXISTS (
                SELECT FROM diptych.workers w CROSS JOIN clock WHERE w.worker = c.owner AND w.alive_until > clock.now)))
UPDATE diptych.projection_checkpoints c SET owner = $1, epoch = c.epoch + 1 FROM seen
WHERE c.projection = $2 AND c.generation = $3 AND c.tenant = '' AND c.lane = seen.lane AND c.epoch = seen.epoch
RETURNING c.lane, c.epoch, c.position, c.event_id, c.recorded_at, seen.owner, c.attempt
"""  # noqa: S608 - constants; who waited for another claim finds another epoch, and gets nothing
_OWNED: Final = "WHERE projection = $2 AND generation = $3 AND lane = ANY($4) AND owner = $1 AND tenant = ''"
_RELEASE: Final = f"""
UPDATE diptych.projection_checkpoints SET owner = '', trouble = coalesce($5, trouble), attempt = 0 {_OWNED}
"""  # noqa: S608 - a constant
_LEAVE: Final = """
WITH gone AS (DELETE FROM diptych.workers WHERE worker = $1)
UPDATE diptych.projection_checkpoints SET owner = '', attempt = 0 WHERE owner = $1
"""
_MARK: Final = f"UPDATE diptych.projection_checkpoints SET attempt = $5, trouble = $6 {_OWNED}"  # noqa: S608 - a constant
_ASK: Final = f"""
INSERT INTO diptych.projection_requests
    (projection, generation, lane, verb, key, position, reason, asked_by, asked_at)
SELECT c.projection, c.generation, c.lane, $2, $3, $4, $5, $6, {NOW} FROM diptych.projections p
JOIN diptych.projection_checkpoints c
    ON c.projection = p.projection AND c.generation = coalesce($8::bigint, p.live) AND c.tenant = ''
WHERE p.projection = coalesce($1, p.projection) AND ($2 <> 'skip' OR $3 <> '' OR c.position < $4)
    AND c.lane = coalesce($7, c.lane) AND ($3 = '' OR $7::int IS NOT NULL OR c.lane IN (
        SELECT lane FROM diptych.parked_events e
        WHERE e.projection = c.projection AND e.generation = c.generation AND e.key = $3))
ORDER BY c.lane RETURNING {_REQUEST}
"""  # noqa: S608 - constants
_NOTE: Final = f"""
INSERT INTO diptych.projection_requests
    (projection, generation, lane, verb, key, position, reason, asked_by, asked_at, outcome)
SELECT $1, coalesce((SELECT live FROM diptych.projections WHERE projection = $1), 0), 0, $2, '', 0, $3, $4, {NOW}, $5
"""  # noqa: S608 - a constant
_REQUESTS: Final = f"""
SELECT {_REQUEST} FROM diptych.projection_requests
WHERE ($1::text IS NULL OR projection = $1) AND ($2::text IS NULL OR verb = $2) ORDER BY id DESC LIMIT $3
"""  # noqa: S608 - a constant
_PAUSE: Final = f"""
UPDATE diptych.projections SET paused_until = coalesce({NOW} + $2::bigint, 0), pause_reason = $3
WHERE projection = $1
    AND (NOT $4 OR pause_reason = $3 OR paused_until IS NULL OR (paused_until <> 0 AND paused_until <= {NOW}))
"""  # noqa: S608 - a constant
_RESUME: Final = """
UPDATE diptych.projections SET paused_until = NULL, pause_reason = ''
WHERE projection = $1 AND pause_reason = coalesce($2, pause_reason)
"""


async def read_board(connection: Connection, schema: str) -> Board:
    """Return all that steers the workers of a schema, for somebody from outside."""
    found: Any = await connection.fetchrow(in_schema(_LOOK, schema), "", [])
    return _board(found[1:], [])


def _board(row: Sequence[Any], more: Sequence[Worker]) -> Board:
    now, *lists = row
    workers, generations, lanes, paused, requests = [json.loads(each or "[]") for each in lists]
    alive = [Worker(id, place, frozenset(takes)) for id, place, takes in workers]
    return Board(
        now=now,
        workers=sorted([*alive, *more]),
        generations=[generation_of(each) for each in generations],
        lanes=[_lane(*each) for each in lanes],
        paused={projection: Pause(until or None, reason) for projection, until, reason in paused},
        requests=[Request(*each) for each in requests],
    )


class PostgresLeases:
    """The workers and lanes of one view store."""

    def __init__(self, lend: Lending, schema: str, seen: Seen, after_beat: Callable[[], Awaitable[None]]) -> None:
        self._lend, self._schema, self._seen, self._after_beat = lend, schema, seen, after_beat
        self._look = in_schema(_LOOK, schema)
        self._beat = in_schema(f"{_BEAT} {_BOARD}", schema)

    async def board(self) -> Board:
        """Look, and change nothing."""
        async with self._lend() as connection:
            return self._board(await connection.fetchrow(self._look, "", []), [])

    async def beat(self, worker: Worker, seconds: float, *, dead: Sequence[str] = ()) -> Board:
        """Say that this worker is alive for so many seconds from now, and that those are not; then look."""
        values = (worker.id, worker.place, sorted(worker.takes), _micros(seconds), list(dead))
        async with self._lend() as connection:
            board = self._board(await connection.fetchrow(self._beat, *values), [worker])
        await self._after_beat()
        return board

    def _board(self, row: Any, more: Sequence[Worker]) -> Board:
        swaps, *rest = row
        board = _board(rest, more)
        self._seen(swaps, {one.projection: one.number for one in board.generations if one.state == "live"})
        return board

    async def claim(self, worker: str, projection: str, generation: int, lanes: Sequence[int]) -> Sequence[Held]:
        """Take lanes that nobody alive owns, or that this worker owns. Returns those it got."""
        held = []
        for lane, epoch, position, event_id, recorded_at, before, attempt in await self._run(
            _CLAIM, worker, projection, generation, list(lanes)
        ):
            checkpoint = Checkpoint(position, epoch, event_id, recorded_at)
            held.append(Held(lane, epoch, checkpoint, before in ("", worker), attempt))
        return sorted(held)

    async def release(
        self, worker: str, projection: str, generation: int, lanes: Sequence[int], *, trouble: str | None = None
    ) -> None:
        """Let go of lanes, those of them that this worker still owns."""
        await self._run(_RELEASE, worker, projection, generation, list(lanes), trouble)

    async def leave(self, worker: str) -> None:
        """Let go of every lane, and be no worker any more."""
        await self._run(_LEAVE, worker)

    async def mark(
        self, worker: str, projection: str, generation: int, lane: int, *, attempt: int = 0, trouble: str = ""
    ) -> None:
        """Note on a lane of this worker what is tried, or why it stands. A commit to the lane wipes both."""
        await self._run(_MARK, worker, projection, generation, [lane], attempt, trouble)

    async def ask(
        self, projection: str, verb: Verb, *, key: str = "", position: int = 0, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owners of the live generation's lanes. Returns one request for each lane concerned."""
        return await self._ask(projection, verb, key, position, reason, by, None, None)

    async def ask_generation(
        self, generation: int, verb: Verb, *, key: str = "", position: int = 0, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owners of the lanes of a generation. Returns one request for each lane concerned."""
        return await self._ask(None, verb, key, position, reason, by, None, generation)

    async def ask_lane(
        self, projection: str, verb: Verb, lane: int, *, key: str, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owner of one of the live generation's lanes; nothing is returned where it has no such lane."""
        return await self._ask(projection, verb, key, 0, reason, by, lane, None)

    async def _ask(self, *values: Any) -> Sequence[Request]:
        return [Request(*row) for row in await self._run(_ASK, *values)]

    async def settle(self, request: int, outcome: str) -> None:
        """Note that a request is done, and how. :raises ProgrammingError: it does not say how."""
        if not outcome:
            raise ProgrammingError("A request is settled by saying what became of it.")
        await self._run(ANSWER, outcome, request)

    async def note(self, projection: str, verb: str, *, reason: str, by: str, outcome: str) -> None:
        """Write down something that was done to a projection otherwise."""
        await self._run(_NOTE, projection, verb, reason, by, outcome)

    async def requests(
        self, projection: str | None = None, *, verb: Verb | None = None, limit: int = 100
    ) -> Sequence[Request]:
        """Return the last requests, done or not, newest first; with a `verb` those of it alone."""
        return [Request(*row) for row in await self._run(_REQUESTS, projection, verb, limit)]

    async def pause(
        self, projection: str, seconds: float | None, *, reason: str, by: str, yields: bool = False
    ) -> None:
        """From now on it shall not move, for so long, or until `resume`."""
        why = f"{reason} ({by})" if by else reason
        await self._run(_PAUSE, projection, None if seconds is None else _micros(seconds), why, yields)

    async def resume(self, projection: str, *, reason: str | None = None) -> None:
        """Let it move again; with a `reason`, only if that is why it stands."""
        await self._run(_RESUME, projection, reason)

    async def _run(self, sql: str, *values: Any) -> list[Any]:
        async with self._lend() as connection:
            return await connection.fetch(in_schema(sql, self._schema), *values)


def _lane(projection: str, generation: int, lane: int, epoch: int, *rest: Any) -> LaneRow:
    position, event_id, recorded_at, owner, trouble = rest
    checkpoint = Checkpoint(position, epoch, bytes.fromhex(event_id), recorded_at)
    return LaneRow(projection, generation, lane, epoch, checkpoint, owner, trouble)


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
