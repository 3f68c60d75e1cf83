-- What a schema keeps beside the rows: whose they are, which builds of each projection there are, how far each got, and
-- who works on them. Times are microseconds since 1970, UTC.

CREATE TABLE diptych.view_store (
    one boolean PRIMARY KEY CHECK (one),
    store_id uuid NOT NULL, -- of the event store that these rows were made from
    last_generation bigint NOT NULL DEFAULT 0,
    swaps bigint NOT NULL DEFAULT 0 -- rises when a `live` below is set, and differs from file to file: by it who reads sees whether to look again
);

-- `live` is the generation that is read: a swap changes this and nothing else. Paused until 0: until it is resumed.
CREATE TABLE diptych.projections (
    projection text COLLATE "C" PRIMARY KEY,
    live bigint NOT NULL,
    paused_until bigint,
    pause_reason text NOT NULL DEFAULT ''
);

-- One build of a projection. Its tables are named `order_summary__g7`; whether it is live, `projections` says.
CREATE TABLE diptych.projection_generations (
    generation bigint PRIMARY KEY,
    projection text COLLATE "C" NOT NULL,
    is_kept boolean NOT NULL, -- it was live once; else it is being built
    version bigint NOT NULL,
    shape text NOT NULL, -- a digest of what its tables look like
    lanes integer NOT NULL,
    code text NOT NULL, -- a hash of the code that built it
    tables text[] NOT NULL, -- the plain names of its tables
    missing_indexes text[] NOT NULL, -- the statements that make them
    since bigint NOT NULL
);

-- Each batch changes one row of it for each lane; the free space lets PostgreSQL do so in place.
-- `owner` works on the lane under `epoch`. `attempt` is an event that it tries alone, `trouble` why it stands.
CREATE TABLE diptych.projection_checkpoints (
    projection text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    lane integer NOT NULL,
    tenant text COLLATE "C" NOT NULL DEFAULT '',
    epoch bigint NOT NULL,
    position bigint NOT NULL,
    event_id bytea NOT NULL, -- of the event at this position
    recorded_at bigint NOT NULL, -- of the same
    owner text COLLATE "C" NOT NULL DEFAULT '',
    attempt bigint NOT NULL DEFAULT 0,
    trouble text NOT NULL DEFAULT '',
    PRIMARY KEY (projection, generation, lane, tenant)
) WITH (fillfactor = 20);

CREATE TABLE diptych.parked_events (
    projection text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    position bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL DEFAULT '',
    lane integer NOT NULL,
    error text NOT NULL, -- empty for those that only wait behind the failing one
    PRIMARY KEY (projection, generation, position, key, tenant)
);

CREATE TABLE diptych.workers (
    worker text COLLATE "C" PRIMARY KEY,
    place text NOT NULL, -- the process, among all of its machine
    takes bigint[] NOT NULL, -- the generations that fit its code
    alive_until bigint NOT NULL
) WITH (fillfactor = 50);

-- What was asked of the owner of a lane, and what became of it. Never deleted: it is the record, too.
CREATE TABLE diptych.projection_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    lane integer NOT NULL,
    verb text NOT NULL,
    key text NOT NULL,
    position bigint NOT NULL,
    reason text NOT NULL,
    asked_by text NOT NULL,
    asked_at bigint NOT NULL,
    outcome text NOT NULL DEFAULT ''
);

CREATE INDEX projection_requests_open ON diptych.projection_requests (id) WHERE outcome = '';

-- What is or was wrong with a projection. At most one record of a kind lasts.
CREATE TABLE diptych.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    message text NOT NULL,
    value double precision NOT NULL,
    raised_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    resolved_at bigint
);

CREATE UNIQUE INDEX alerts_open ON diptych.alerts (projection, kind) WHERE resolved_at IS NULL;
