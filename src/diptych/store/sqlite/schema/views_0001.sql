-- What a file of rows keeps beside the rows: whose they are, which builds of each projection there are, how far each got,
-- and who works on them. Times are microseconds since 1970, UTC.

CREATE TABLE view_store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema_version INTEGER NOT NULL,
    store_id TEXT NOT NULL, -- of the event store that these rows were made from
    last_generation INTEGER NOT NULL DEFAULT 0,
    swaps INTEGER NOT NULL DEFAULT 0 -- rises when a `live` below is set, and differs from file to file: by it who reads sees whether to look again
) STRICT;

-- `live` is the generation that is read: a swap changes this and nothing else. Paused until 0: until it is resumed.
CREATE TABLE projections (
    projection TEXT PRIMARY KEY,
    live INTEGER NOT NULL,
    paused_until INTEGER,
    pause_reason TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- One build of a projection. Its tables are named `order_summary__g7`; whether it is live, `projections` says.
CREATE TABLE projection_generations (
    generation INTEGER PRIMARY KEY,
    projection TEXT NOT NULL,
    is_kept INTEGER NOT NULL CHECK (is_kept IN (0, 1)), -- it was live once; else it is being built
    version INTEGER NOT NULL,
    shape TEXT NOT NULL, -- a digest of what its tables look like
    lanes INTEGER NOT NULL,
    code TEXT NOT NULL, -- a hash of the code that built it
    tables TEXT NOT NULL, -- JSON list of the plain names of its tables
    missing_indexes TEXT NOT NULL, -- JSON list of the statements that make them
    since INTEGER NOT NULL
) STRICT;

-- `owner` works on the lane under `epoch`. `attempt` is an event that it tries alone, `trouble` why it stands.
CREATE TABLE projection_checkpoints (
    projection TEXT NOT NULL,
    generation INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    tenant TEXT NOT NULL DEFAULT '',
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_id BLOB NOT NULL, -- of the event at this position
    recorded_at INTEGER NOT NULL, -- of the same
    owner TEXT NOT NULL DEFAULT '',
    attempt INTEGER NOT NULL DEFAULT 0,
    trouble TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (projection, generation, lane, tenant)
) STRICT, WITHOUT ROWID;

CREATE TABLE parked_events (
    projection TEXT NOT NULL,
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    tenant TEXT NOT NULL DEFAULT '',
    lane INTEGER NOT NULL,
    error TEXT NOT NULL, -- empty for those that only wait behind the failing one
    PRIMARY KEY (projection, generation, position, key, tenant)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    worker TEXT PRIMARY KEY,
    place TEXT NOT NULL, -- the process, among all of its machine
    takes TEXT NOT NULL, -- JSON list of the generations that fit its code
    alive_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was asked of the owner of a lane, and what became of it. Never deleted: it is the record, too.
CREATE TABLE projection_requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    projection TEXT NOT NULL,
    generation INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    verb TEXT NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    reason TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    outcome TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX projection_requests_open ON projection_requests (id) WHERE outcome = '';

-- What is or was wrong with a projection. At most one record of a kind lasts.
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    projection TEXT NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    value REAL NOT NULL,
    raised_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    resolved_at INTEGER
) STRICT;

CREATE UNIQUE INDEX alerts_open ON alerts (projection, kind) WHERE resolved_at IS NULL;
