-- Analytics, kept as devices come and report: sums only, no row names a device.

-- What of a device is counted in `census`; nothing until it comes for the first time after this migration.
ALTER TABLE devices ADD COLUMN standing INTEGER;

-- Further steps of a version on a device, the first of each.
ALTER TABLE outcomes ADD COLUMN offered_at INTEGER;
ALTER TABLE outcomes ADD COLUMN downloaded_at INTEGER;
ALTER TABLE outcomes ADD COLUMN ran_at INTEGER;
ALTER TABLE outcomes ADD COLUMN rolled_back_at INTEGER;
ALTER TABLE outcomes ADD COLUMN refused_at INTEGER;
ALTER TABLE outcomes ADD COLUMN refusal TEXT;

-- Where devices stand. `devices`: those whose last contact was on that day, so that a device is in one row of all.
-- `seen`: those that had a contact on that day, as they were at the last one.
CREATE TABLE census (
    app      INTEGER NOT NULL,
    day      INTEGER NOT NULL,
    channel  TEXT    NOT NULL,
    platform TEXT    NOT NULL,
    native   TEXT    NOT NULL,
    running  TEXT    NOT NULL,
    -- The version that was last offered, else what runs.
    target   TEXT    NOT NULL,
    -- What became of the target.
    standing INTEGER NOT NULL,
    devices  INTEGER NOT NULL,
    seen     INTEGER NOT NULL,
    PRIMARY KEY (app, day, channel, platform, native, running, target, standing)
) WITHOUT ROWID;

-- Devices on which something became true of a version, by the day when that was learned.
CREATE TABLE funnel (
    app      INTEGER NOT NULL,
    version  TEXT    NOT NULL,
    day      INTEGER NOT NULL,
    channel  TEXT    NOT NULL,
    platform TEXT    NOT NULL,
    fact     INTEGER NOT NULL,
    devices  INTEGER NOT NULL,
    PRIMARY KEY (app, version, day, channel, platform, fact)
) WITHOUT ROWID;

-- When a version was offered first on a channel (0 percent), and when so many percent of the active devices ran it.
CREATE TABLE coverage (
    app     INTEGER NOT NULL,
    channel TEXT    NOT NULL,
    version TEXT    NOT NULL,
    percent INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (app, channel, version, percent)
) WITHOUT ROWID;

UPDATE meta SET value = '5' WHERE name = 'schema';
