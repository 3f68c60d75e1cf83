-- The log and all that commits with it. Times are microseconds since 1970, UTC.
-- `diptych.` stands for the schema of your choice.

CREATE TABLE diptych.event_store (
    one        smallint PRIMARY KEY CHECK (one = 1),
    store_id   uuid NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE diptych.event_types (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

-- The id of a stream is the position of its first event.
CREATE TABLE diptych.streams (
    id        bigint PRIMARY KEY,
    version   bigint NOT NULL CHECK (version > 0),
    stream_id uuid NOT NULL,
    category  text COLLATE "C" NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    UNIQUE (stream_id, category, tenant)
) WITH (fillfactor = 70);

-- No unique index but the position, so that the log can be cut by position one day.
CREATE TABLE diptych.events (
    position       bigint PRIMARY KEY,
    stream         bigint NOT NULL,
    version        bigint NOT NULL,
    recorded_at    bigint NOT NULL,
    checksum       bigint NOT NULL,
    event_id       uuid NOT NULL,
    schema_version bigint NOT NULL,
    format         bigint NOT NULL,
    type           integer NOT NULL,
    slice          smallint NOT NULL,
    tenant         text COLLATE "C" NOT NULL,
    metadata       json NOT NULL,
    payload        json NOT NULL
);

CREATE INDEX events_by_stream ON diptych.events (stream, version);

-- `events` is how many the command stored: they end at `position`. `id` rises with time, so that the oldest are found.
CREATE TABLE diptych.commands (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position     bigint NOT NULL,
    recorded_at  bigint NOT NULL,
    command_id   uuid NOT NULL,
    events       integer NOT NULL,
    command_type text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    tenant       text COLLATE "C" NOT NULL,
    hash         bytea NOT NULL,
    result       text NOT NULL,
    UNIQUE (command_id, command_type, user_id, tenant)
);

-- CRC-32 of `known` and then `assigned`, both in UTF-8. PostgreSQL 18 has a function for it; before, the writer says
-- what it is for `known` alone, and this goes on from there.
DO $migration$
BEGIN
    IF to_regprocedure('pg_catalog.crc32(bytea)') IS NOT NULL THEN
        CREATE FUNCTION diptych.checksum_of(known text, assigned text, crc_of_known bigint) RETURNS bigint
        LANGUAGE sql STABLE PARALLEL SAFE -- as convert_to is: else it is called for each row, and not made part of the plan
        AS $$ SELECT pg_catalog.crc32(pg_catalog.convert_to(known || assigned, 'UTF8')) $$;
        RETURN;
    END IF;
    CREATE FUNCTION diptych.checksum_of(known text, assigned text, crc_of_known bigint) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        crc bigint := crc_of_known # 4294967295;
        bytes CONSTANT bytea := convert_to(assigned, 'UTF8');
        step CONSTANT bigint[] := '{
        0, 1996959894, 3993919788, 2567524794, 124634137, 1886057615, 3915621685, 2657392035, 249268274, 2044508324,
        3772115230, 2547177864, 162941995, 2125561021, 3887607047, 2428444049, 498536548, 1789927666, 4089016648, 2227061214,
        450548861, 1843258603, 4107580753, 2211677639, 325883990, 1684777152, 4251122042, 2321926636, 335633487, 1661365465,
        4195302755, 2366115317, 997073096, 1281953886, 3579855332, 2724688242, 1006888145, 1258607687, 3524101629, 2768942443,
        901097722, 1119000684, 3686517206, 2898065728, 853044451, 1172266101, 3705015759, 2882616665, 651767980, 1373503546,
        3369554304, 3218104598, 565507253, 1454621731, 3485111705, 3099436303, 671266974, 1594198024, 3322730930, 2970347812,
        795835527, 1483230225, 3244367275, 3060149565, 1994146192, 31158534, 2563907772, 4023717930, 1907459465, 112637215,
        2680153253, 3904427059, 2013776290, 251722036, 2517215374, 3775830040, 2137656763, 141376813, 2439277719, 3865271297,
        1802195444, 476864866, 2238001368, 4066508878, 1812370925, 453092731, 2181625025, 4111451223, 1706088902, 314042704,
        2344532202, 4240017532, 1658658271, 366619977, 2362670323, 4224994405, 1303535960, 984961486, 2747007092, 3569037538,
        1256170817, 1037604311, 2765210733, 3554079995, 1131014506, 879679996, 2909243462, 3663771856, 1141124467, 855842277,
        2852801631, 3708648649, 1342533948, 654459306, 3188396048, 3373015174, 1466479909, 544179635, 3110523913, 3462522015,
        1591671054, 702138776, 2966460450, 3352799412, 1504918807, 783551873, 3082640443, 3233442989, 3988292384, 2596254646,
        62317068, 1957810842, 3939845945, 2647816111, 81470997, 1943803523, 3814918930, 2489596804, 225274430, 2053790376,
        3826175755, 2466906013, 167816743, 2097651377, 4027552580, 2265490386, 503444072, 1762050814, 4150417245, 2154129355,
        426522225, 1852507879, 4275313526, 2312317920, 282753626, 1742555852, 4189708143, 2394877945, 397917763, 1622183637,
        3604390888, 2714866558, 953729732, 1340076626, 3518719985, 2797360999, 1068828381, 1219638859, 3624741850, 2936675148,
        906185462, 1090812512, 3747672003, 2825379669, 829329135, 1181335161, 3412177804, 3160834842, 628085408, 1382605366,
        3423369109, 3138078467, 570562233, 1426400815, 3317316542, 2998733608, 733239954, 1555261956, 3268935591, 3050360625,
        752459403, 1541320221, 2607071920, 3965973030, 1969922972, 40735498, 2617837225, 3943577151, 1913087877, 83908371,
        2512341634, 3803740692, 2075208622, 213261112, 2463272603, 3855990285, 2094854071, 198958881, 2262029012, 4057260610,
        1759359992, 534414190, 2176718541, 4139329115, 1873836001, 414664567, 2282248934, 4279200368, 1711684554, 285281116,
        2405801727, 4167216745, 1634467795, 376229701, 2685067896, 3608007406, 1308918612, 956543938, 2808555105, 3495958263,
        1231636301, 1047427035, 2932959818, 3654703836, 1088359270, 936918000, 2847714899, 3736837829, 1202900863, 817233897,
        3183342108, 3401237130, 1404277552, 615818150, 3134207493, 3453421203, 1423857449, 601450431, 3009837614, 3294710456,
        1567103746, 711928724, 3020668471, 3272380065, 1510334235, 755167117}';
    BEGIN
        FOR i IN 0 .. length(bytes) - 1 LOOP
            crc := step[((crc # get_byte(bytes, i)) & 255) + 1] # (crc >> 8);
        END LOOP;
        RETURN crc # 4294967295;
    END $$;
END $migration$;

-- Judges and writes the appends of a group; the caller commits. No two of them write, or the one writes and the other
-- guards, the same stream or command, so that none needs to see what another wrote.
--
-- Arrays, mostly of numbers that stand together: the kth number of the nth of them is x[size * (n - 1) + k].
-- a_: the appends. `a_last` is how many events there are up to the end of each.
-- t: the kinds of events among them: 1 the number of the type, 2 the schema version, 3 the format; `t_kind` is all
--     three as in a row's text. n_names: tenants and categories, in turn.
-- w: what is said of streams, in the order of the appends: 1 its append, 2 its name in `n_names`, 3 its slice, 4 the
--     version that is expected, or -1: any, -2: it exists, 5 the place of its first event in e, of which there are 6.
-- e: events, in the order of those: 1 its place in w, 2 its kind in t. `e_crc` is only needed where `checksum_of` is
--     one that needs it.
-- c: commands: `c_append`, and in `c_texts` 1 tenant, 2 user, 3 type, 4 id, 5 hash in hex, 6 result.
-- prior: the versions of the streams before, in the order of w.
-- refusals: for each append 0: it is stored, n > 0: the nth of w is elsewhere, -1: the command was used.
--
-- Elements are taken by their number: unnest with n arrays makes n tuple stores, a third of the time of one append.
-- What is large, the payloads, is unnested all the same: finding the nth text takes n steps.
CREATE FUNCTION diptych.append_events(
    lock bigint, a_last integer[], a_metadata text[], t bigint[], t_kind text[], n_names text[],
    w bigint[], w_stream uuid[], e bigint[], e_id uuid[], e_payload text[], e_crc bigint[],
    c_append integer[], c_texts text[],
    OUT head_position bigint, OUT head_event uuid, OUT head_time bigint, OUT now bigint,
    OUT prior bigint[], OUT refusals integer[]
)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    ids bigint[];
    used integer[];
    unmet boolean;
    time text; -- as it ends the text of each row
    refused integer := 0; -- events of refused appends so far
    skipped integer[] := array_fill(0, ARRAY[cardinality(a_last)]); -- the same, before each append
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'an append needs READ COMMITTED: under % it would not see what was appended before it',
            upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_advisory_xact_lock(lock); -- a statement of its own: the snapshots of the next are taken after it

    SELECT h.position, h.event_id, h.recorded_at INTO head_position, head_event, head_time
    FROM diptych.events h ORDER BY h.position DESC LIMIT 1;
    head_position := coalesce(head_position, 0);
    now := greatest(head_time, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    time := E'\x1f' || now;

    SELECT array_agg(coalesce(s.id, 0) ORDER BY n), array_agg(coalesce(s.version, 0) ORDER BY n),
           bool_or(CASE w[6 * n - 2] WHEN -1 THEN false WHEN -2 THEN s.id IS NULL
                   ELSE coalesce(s.version, 0) <> w[6 * n - 2] END)
    INTO ids, prior, unmet
    FROM generate_series(1, cardinality(w_stream)) n
    LEFT JOIN diptych.streams s ON s.stream_id = w_stream[n] AND s.category = n_names[2 * w[6 * n - 4]]
        AND s.tenant = n_names[2 * w[6 * n - 4] - 1];
    IF cardinality(c_append) > 0 THEN
        SELECT array_agg(c_append[n]) INTO used
        FROM generate_series(1, cardinality(c_append)) n
        JOIN diptych.commands k ON k.command_id = c_texts[6 * n - 2]::uuid AND k.command_type = c_texts[6 * n - 3]
            AND k.user_id = c_texts[6 * n - 4] AND k.tenant = c_texts[6 * n - 5];
    END IF;
    refusals := skipped;
    IF unmet OR used IS NOT NULL THEN
        refusals := diptych.refusals_of(refusals, used, w, prior);
        FOR i IN 1 .. cardinality(a_last) LOOP
            skipped[i] := refused;
            IF refusals[i] <> 0 THEN
                refused := refused + a_last[i] - coalesce(a_last[i - 1], 0);
            END IF;
        END LOOP;
    END IF;

    INSERT INTO diptych.events (position, stream, version, recorded_at, checksum, event_id, type, schema_version,
        format, slice, tenant, metadata, payload)
    SELECT x.position, CASE ids[x.nth] WHEN 0 THEN x.position - x.place + 1 ELSE ids[x.nth] END, prior[x.nth] + x.place, now,
        diptych.checksum_of(
            upper(encode(uuid_send(e_id[x.n]), 'hex') COLLATE "C") || E'\x1f' || n_names[2 * x.name - 1] || E'\x1f'
                || n_names[2 * x.name] || E'\x1f' || w_stream[x.nth]::text || E'\x1f' || t_kind[x.kind] || E'\x1f'
                || a_metadata[x.append] || E'\x1f' || x.payload,
            E'\x1f' || x.position::text || E'\x1f' || (prior[x.nth] + x.place)::text || time, e_crc[x.n]),
        e_id[x.n], t[3 * x.kind - 2], t[3 * x.kind - 1], t[3 * x.kind], w[6 * x.nth - 3], n_names[2 * x.name - 1],
        a_metadata[x.append]::json, x.payload::json
    FROM (
        SELECT u.n, u.nth, u.payload, u.append, w[6 * u.nth - 4] AS name, u.kind,
            head_position + u.n - skipped[u.append] AS position, u.n - w[6 * u.nth - 1] + 1 AS place
        FROM (
            SELECT p.n, p.payload, e[2 * p.n - 1] AS nth, w[6 * e[2 * p.n - 1] - 5] AS append, e[2 * p.n] AS kind
            FROM (SELECT n::integer AS n, payload FROM unnest(e_payload) WITH ORDINALITY AS q (payload, n)) p
        ) u
        WHERE refusals[u.append] = 0
    ) x;

    INSERT INTO diptych.streams (id, version, stream_id, category, tenant)
    SELECT CASE ids[n] WHEN 0 THEN head_position + w[6 * n - 1] - skipped[w[6 * n - 5]] ELSE ids[n] END,
        prior[n] + w[6 * n], w_stream[n], n_names[2 * w[6 * n - 4]], n_names[2 * w[6 * n - 4] - 1]
    FROM generate_series(1, cardinality(w_stream)) n
    WHERE w[6 * n] > 0 AND refusals[w[6 * n - 5]] = 0
    ON CONFLICT (id) DO UPDATE SET version = excluded.version;

    IF cardinality(c_append) > 0 THEN
        INSERT INTO diptych.commands (position, recorded_at, command_id, events, command_type, user_id, tenant, hash,
            result)
        SELECT head_position + a_last[c_append[n]] - skipped[c_append[n]], now, c_texts[6 * n - 2]::uuid,
            a_last[c_append[n]] - coalesce(a_last[c_append[n] - 1], 0), c_texts[6 * n - 3], c_texts[6 * n - 4],
            c_texts[6 * n - 5], decode(c_texts[6 * n - 1], 'hex'), c_texts[6 * n]
        FROM generate_series(1, cardinality(c_append)) n
        WHERE refusals[c_append[n]] = 0;
    END IF;
END $$;

-- Why appends of a group are refused: the command's id is judged first, then the streams in order.
CREATE FUNCTION diptych.refusals_of(INOUT refusals integer[], used integer[], w bigint[], prior bigint[])
LANGUAGE plpgsql STABLE AS $$
DECLARE
    one integer;
    expected bigint;
BEGIN
    FOREACH one IN ARRAY coalesce(used, '{}') LOOP
        refusals[one] := -1;
    END LOOP;
    FOR n IN 1 .. coalesce(cardinality(prior), 0) LOOP
        one := w[6 * n - 5];
        expected := w[6 * n - 2];
        IF refusals[one] = 0 AND expected <> -1 AND prior[n] <> expected AND (expected <> -2 OR prior[n] = 0) THEN
            refusals[one] := n;
        END IF;
    END LOOP;
END $$;

-- Append-only, for the owner of the tables too, and where triggers are switched off for replication.
CREATE FUNCTION diptych.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE OR DELETE ON diptych.events
    FOR EACH ROW EXECUTE FUNCTION diptych.refuse_change('events are never changed and never deleted');
CREATE TRIGGER events_are_never_emptied BEFORE TRUNCATE ON diptych.events
    FOR EACH STATEMENT EXECUTE FUNCTION diptych.refuse_change('events are never deleted');
CREATE TRIGGER versions_only_rise BEFORE UPDATE ON diptych.streams
    FOR EACH ROW WHEN (NEW.version <= OLD.version OR NEW.id <> OLD.id OR NEW.tenant <> OLD.tenant
        OR NEW.category <> OLD.category OR NEW.stream_id <> OLD.stream_id)
    EXECUTE FUNCTION diptych.refuse_change('the version of a stream only rises');
CREATE TRIGGER streams_are_never_deleted BEFORE DELETE ON diptych.streams
    FOR EACH ROW EXECUTE FUNCTION diptych.refuse_change('streams are never deleted');
CREATE TRIGGER streams_are_never_emptied BEFORE TRUNCATE ON diptych.streams
    FOR EACH STATEMENT EXECUTE FUNCTION diptych.refuse_change('streams are never deleted');
CREATE TRIGGER types_are_never_changed BEFORE UPDATE OR DELETE ON diptych.event_types
    FOR EACH ROW EXECUTE FUNCTION diptych.refuse_change('stored types are never changed and never deleted');
CREATE TRIGGER types_are_never_emptied BEFORE TRUNCATE ON diptych.event_types
    FOR EACH STATEMENT EXECUTE FUNCTION diptych.refuse_change('stored types are never deleted');

ALTER TABLE diptych.events ENABLE ALWAYS TRIGGER events_are_never_changed;
ALTER TABLE diptych.events ENABLE ALWAYS TRIGGER events_are_never_emptied;
ALTER TABLE diptych.streams ENABLE ALWAYS TRIGGER versions_only_rise;
ALTER TABLE diptych.streams ENABLE ALWAYS TRIGGER streams_are_never_deleted;
ALTER TABLE diptych.streams ENABLE ALWAYS TRIGGER streams_are_never_emptied;
ALTER TABLE diptych.event_types ENABLE ALWAYS TRIGGER types_are_never_changed;
ALTER TABLE diptych.event_types ENABLE ALWAYS TRIGGER types_are_never_emptied;
