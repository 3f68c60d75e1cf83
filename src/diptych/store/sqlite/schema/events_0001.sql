-- The log and all that commits with it. Times are microseconds since 1970, UTC; ids of events and commands are 16 bytes.

CREATE TABLE store (
    store_id   TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE event_types (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE streams (
    id        INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL DEFAULT '',
    category  TEXT NOT NULL,
    stream_id TEXT NOT NULL,
    version   INTEGER NOT NULL CHECK (version > 0),
    chain     INTEGER NOT NULL, -- of its last event
    UNIQUE (tenant, category, stream_id)
) STRICT;

-- No unique index but the position, so that the log can be cut by position one day.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    type           INTEGER NOT NULL,
    stream         INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    format         INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    slice          INTEGER NOT NULL,
    checksum       INTEGER NOT NULL, -- CRC-32 of this row
    chain          INTEGER NOT NULL, -- CRC-32 of its stream up to this row
    tenant         TEXT NOT NULL DEFAULT '',
    event_id       BLOB NOT NULL,
    metadata       TEXT NOT NULL,
    payload        TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_stream ON events (stream, version);

-- `id` rises with time, so that the oldest are found without another index.
CREATE TABLE commands (
    id           INTEGER PRIMARY KEY,
    tenant       TEXT NOT NULL DEFAULT '',
    user_id      TEXT NOT NULL DEFAULT '',
    command_type TEXT NOT NULL,
    command_id   BLOB NOT NULL,
    hash         BLOB NOT NULL,
    result       TEXT NOT NULL,
    position     INTEGER NOT NULL,
    event_id     BLOB NOT NULL,
    streams      TEXT NOT NULL,
    event_types  TEXT NOT NULL,
    recorded_at  INTEGER NOT NULL,
    UNIQUE (command_id, command_type, user_id, tenant)
) STRICT;

-- Append-only, for the owner of the file too.
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: they are never changed');
END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: they are never deleted');
END;

CREATE TRIGGER events_follow_the_last BEFORE INSERT ON events
WHEN NEW.position <= (SELECT coalesce(max(position), 0) FROM events)
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: a position is used once');
END;

CREATE TRIGGER versions_only_rise BEFORE UPDATE ON streams
WHEN NEW.version <= OLD.version OR NEW.id <> OLD.id OR NEW.tenant <> OLD.tenant
    OR NEW.category <> OLD.category OR NEW.stream_id <> OLD.stream_id
BEGIN
    SELECT RAISE(ABORT, 'streams are append-only: their version only rises');
END;

CREATE TRIGGER streams_are_never_deleted BEFORE DELETE ON streams
BEGIN
    SELECT RAISE(ABORT, 'streams are append-only: they are never deleted');
END;

CREATE TRIGGER types_are_never_changed BEFORE UPDATE ON event_types
BEGIN
    SELECT RAISE(ABORT, 'stored event types are never changed');
END;

CREATE TRIGGER types_are_never_deleted BEFORE DELETE ON event_types
BEGIN
    SELECT RAISE(ABORT, 'stored event types are never deleted');
END;
