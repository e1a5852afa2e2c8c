-- The fleet store: devices, what they reported, and what became of it.
--
-- Times are seconds since 1970 of the server's clock unless a column says otherwise. A device is the first half of the
-- SHA-256 of its id (`DeviceKey`), an app is a small integer. Tables are clustered by the key that they are looked up
-- by, because at ten million devices a second index costs as much as the table.
--
-- Rules for the next migration: only add (tables, nullable columns, columns with a default), so that the release
-- before it can still read and write. Where that is impossible raise `readable_by` in `meta`.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- `schema`: the newest migration that was applied. `readable_by`: the oldest schema whose programs may use the file.
INSERT INTO meta (name, value) VALUES ('schema', '1'), ('readable_by', '1');

CREATE TABLE apps (
    id   INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- What was ever offered. `last_offered` is exact to a minute.
CREATE TABLE versions (
    app           INTEGER NOT NULL,
    version       TEXT    NOT NULL,
    digest        BLOB    NOT NULL,
    first_offered INTEGER NOT NULL,
    last_offered  INTEGER NOT NULL,
    PRIMARY KEY (app, version)
) WITHOUT ROWID;
CREATE INDEX versions_by_digest ON versions (digest);

CREATE TABLE devices (
    app             INTEGER NOT NULL,
    device          BLOB    NOT NULL,
    first_seen      INTEGER NOT NULL,
    last_seen       INTEGER NOT NULL,
    sessions        INTEGER NOT NULL,
    -- The newest eight gaps between sessions in seconds, newest first, four bytes each, big-endian.
    gaps            BLOB    NOT NULL,
    platform        TEXT    NOT NULL,
    plugin          TEXT    NOT NULL,
    native          TEXT    NOT NULL,
    os              TEXT    NOT NULL,
    running         TEXT    NOT NULL,
    channel         TEXT,
    production      INTEGER NOT NULL,
    emulator        INTEGER NOT NULL,
    -- HMAC-SHA-256 of the custom id under the key of this installation, first 16 bytes.
    custom_id       BLOB,
    offered_version TEXT,
    offered_at      INTEGER,
    PRIMARY KEY (app, device)
) WITHOUT ROWID;

-- Reports, once each. `slot` is the minute of the device's clock, or of ours when the report has no time: reports of
-- one moment lie side by side, which keeps inserts local and makes retention a range. `key` is six bytes of the device
-- and ten of a hash over all that makes the report what it is.
CREATE TABLE events (
    slot     INTEGER NOT NULL,
    key      BLOB    NOT NULL,
    app      INTEGER NOT NULL,
    device   BLOB    NOT NULL,
    action   TEXT    NOT NULL,
    version  TEXT    NOT NULL,
    -- Milliseconds of the device's clock, when it sent them.
    sent_at  INTEGER,
    received INTEGER NOT NULL,
    neutral  INTEGER NOT NULL,
    PRIMARY KEY (slot, key)
) WITHOUT ROWID;

-- What became of one version on one device: the first of each kind, so that a device counts once.
CREATE TABLE outcomes (
    app              INTEGER NOT NULL,
    version          TEXT    NOT NULL,
    device           BLOB    NOT NULL,
    trial_at         INTEGER,
    success_at       INTEGER,
    launch_failed_at INTEGER,
    launch_failure   TEXT,
    install_failed_at INTEGER,
    install_failure  TEXT,
    -- Separate failed attempts to install, and the time of the newest in milliseconds.
    install_attempts INTEGER NOT NULL,
    install_last_at  INTEGER NOT NULL,
    health_failed_at INTEGER,
    health_failure   TEXT,
    -- 0: reported by an emulator or a development build.
    evidence         INTEGER NOT NULL,
    PRIMARY KEY (app, version, device)
) WITHOUT ROWID;

-- Bundles that are withheld from a device because they failed on it.
CREATE TABLE failed (
    app    INTEGER NOT NULL,
    device BLOB    NOT NULL,
    digest BLOB    NOT NULL,
    native TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (app, device, digest)
) WITHOUT ROWID;

-- Channels chosen for one device.
CREATE TABLE overrides (
    app     INTEGER NOT NULL,
    device  BLOB    NOT NULL,
    channel TEXT    NOT NULL,
    chosen_by TEXT  NOT NULL,
    at      INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY (app, device)
) WITHOUT ROWID;
