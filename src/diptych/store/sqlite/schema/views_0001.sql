-- What a file of rows keeps beside the rows: whose they are, what shape they have, and how far they got.

CREATE TABLE view_store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema_version INTEGER NOT NULL,
    store_id TEXT NOT NULL -- of the event store that these rows were made from
) STRICT;

CREATE TABLE projection_shapes (
    projection TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    tables TEXT NOT NULL -- JSON list of the names of its tables
) STRICT, WITHOUT ROWID;

CREATE TABLE projection_checkpoints (
    projection TEXT NOT NULL,
    lane INTEGER NOT NULL,
    tenant TEXT NOT NULL DEFAULT '',
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_id BLOB NOT NULL, -- of the event at this position
    recorded_at INTEGER NOT NULL, -- of the same, in microseconds since 1970
    PRIMARY KEY (projection, lane, tenant)
) STRICT, WITHOUT ROWID;

CREATE TABLE parked_events (
    projection TEXT NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    tenant TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL, -- empty for those that only wait behind the failing one
    PRIMARY KEY (projection, position, key, tenant)
) STRICT, WITHOUT ROWID;
