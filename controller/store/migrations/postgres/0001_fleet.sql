-- The fleet store: devices, what they reported, and what became of it.
--
-- Times are seconds since 1970 of the server's clock unless a column says otherwise. A device is the first half of the
-- SHA-256 of its id (`DeviceKey`), an app is a small integer. Numbers have 64 bits and yes or no is a number, so that
-- the statements are those of the embedded file.
--
-- Rules for the next migration: only add (tables, nullable columns, columns with a default), so that the release
-- before it can still read and write. Where that is impossible raise `readable_by` in `meta`.

CREATE TABLE meta (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

-- `schema`: the newest migration that was applied. `readable_by`: the oldest schema whose programs may use the tables.
INSERT INTO meta (name, value) VALUES ('schema', '1'), ('readable_by', '1');

CREATE TABLE apps (
    id   BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE
);

-- What was ever offered. `last_offered` is exact to a minute.
CREATE TABLE versions (
    app           BIGINT NOT NULL,
    version       TEXT COLLATE "C" NOT NULL,
    digest        BYTEA    NOT NULL,
    first_offered BIGINT NOT NULL,
    last_offered  BIGINT NOT NULL,
    PRIMARY KEY (app, version)
);
CREATE INDEX versions_by_digest ON versions (digest);

CREATE TABLE devices (
    app             BIGINT NOT NULL,
    device          BYTEA    NOT NULL,
    first_seen      BIGINT NOT NULL,
    last_seen       BIGINT NOT NULL,
    sessions        BIGINT NOT NULL,
    -- The newest eight gaps between sessions in seconds, newest first, four bytes each, big-endian.
    gaps            BYTEA    NOT NULL,
    platform        TEXT COLLATE "C" NOT NULL,
    plugin          TEXT COLLATE "C" NOT NULL,
    native          TEXT COLLATE "C" NOT NULL,
    os              TEXT COLLATE "C" NOT NULL,
    running         TEXT COLLATE "C" NOT NULL,
    channel         TEXT,
    production      BIGINT NOT NULL,
    emulator        BIGINT NOT NULL,
    -- HMAC-SHA-256 of the custom id under the key of this installation, first 16 bytes.
    custom_id       BYTEA,
    offered_version TEXT,
    offered_at      BIGINT,
    PRIMARY KEY (app, device)
);

-- Reports, once each. `slot` is the minute of the device's clock, or of ours when the report has no time: reports of
-- one moment lie side by side, which keeps inserts local and makes retention a range. `key` is six bytes of the device
-- and ten of a hash over all that makes the report what it is.
CREATE TABLE events (
    slot     BIGINT NOT NULL,
    key      BYTEA    NOT NULL,
    app      BIGINT NOT NULL,
    device   BYTEA    NOT NULL,
    action   TEXT COLLATE "C" NOT NULL,
    version  TEXT COLLATE "C" NOT NULL,
    -- Milliseconds of the device's clock, when it sent them.
    sent_at  BIGINT,
    received BIGINT NOT NULL,
    neutral  BIGINT NOT NULL,
    PRIMARY KEY (slot, key)
);

-- What became of one version on one device: the first of each kind, so that a device counts once.
CREATE TABLE outcomes (
    app              BIGINT NOT NULL,
    version          TEXT COLLATE "C" NOT NULL,
    device           BYTEA    NOT NULL,
    trial_at         BIGINT,
    success_at       BIGINT,
    launch_failed_at BIGINT,
    launch_failure   TEXT,
    install_failed_at BIGINT,
    install_failure  TEXT,
    -- Separate failed attempts to install, and the time of the newest in milliseconds.
    install_attempts BIGINT NOT NULL,
    install_last_at  BIGINT NOT NULL,
    health_failed_at BIGINT,
    health_failure   TEXT,
    -- 0: reported by an emulator or a development build.
    evidence         BIGINT NOT NULL,
    PRIMARY KEY (app, version, device)
);

-- Bundles that are withheld from a device because they failed on it.
CREATE TABLE failed (
    app    BIGINT NOT NULL,
    device BYTEA    NOT NULL,
    digest BYTEA    NOT NULL,
    native TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (app, device, digest)
);

-- Channels chosen for one device.
CREATE TABLE overrides (
    app     BIGINT NOT NULL,
    device  BYTEA    NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    chosen_by TEXT COLLATE "C" NOT NULL,
    at      BIGINT NOT NULL,
    expires BIGINT,
    PRIMARY KEY (app, device)
);
