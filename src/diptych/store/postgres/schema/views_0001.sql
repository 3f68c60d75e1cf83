-- What a schema keeps beside the rows: whose they are, what shape they have, and how far they got.

CREATE TABLE diptych.view_store (
    one boolean PRIMARY KEY CHECK (one),
    store_id uuid NOT NULL -- of the event store that these rows were made from
);

CREATE TABLE diptych.projection_shapes (
    projection text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    fingerprint text NOT NULL, -- a digest of what its tables look like
    tables text[] NOT NULL
);

-- Each batch changes one row of it; the free space lets PostgreSQL do so in place.
CREATE TABLE diptych.projection_checkpoints (
    projection text COLLATE "C" NOT NULL,
    lane integer NOT NULL,
    tenant text COLLATE "C" NOT NULL DEFAULT '',
    epoch bigint NOT NULL,
    position bigint NOT NULL,
    event_id bytea NOT NULL, -- of the event at this position
    recorded_at bigint NOT NULL, -- of the same, in microseconds since 1970
    PRIMARY KEY (projection, lane, tenant)
) WITH (fillfactor = 20);

CREATE TABLE diptych.parked_events (
    projection text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL DEFAULT '',
    error text NOT NULL, -- empty for those that only wait behind the failing one
    PRIMARY KEY (projection, position, key, tenant)
);
