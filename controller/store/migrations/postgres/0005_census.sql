-- Analytics, kept as devices come and report: sums only, no row names a device.

-- What of a device is counted in `census`; nothing until it comes for the first time after this migration.
ALTER TABLE devices ADD COLUMN standing BIGINT;

-- Further steps of a version on a device, the first of each.
ALTER TABLE outcomes ADD COLUMN offered_at BIGINT;
ALTER TABLE outcomes ADD COLUMN downloaded_at BIGINT;
ALTER TABLE outcomes ADD COLUMN ran_at BIGINT;
ALTER TABLE outcomes ADD COLUMN rolled_back_at BIGINT;
ALTER TABLE outcomes ADD COLUMN refused_at BIGINT;
ALTER TABLE outcomes ADD COLUMN refusal TEXT;

-- Where devices stand. `devices`: those whose last contact was on that day, so that a device is in one row of all.
-- `seen`: those that had a contact on that day, as they were at the last one.
CREATE TABLE census (
    app      BIGINT NOT NULL,
    day      BIGINT NOT NULL,
    channel  TEXT COLLATE "C" NOT NULL,
    platform TEXT COLLATE "C" NOT NULL,
    native   TEXT COLLATE "C" NOT NULL,
    running  TEXT COLLATE "C" NOT NULL,
    -- The version that was last offered, else what runs.
    target   TEXT COLLATE "C" NOT NULL,
    -- What became of the target.
    standing BIGINT NOT NULL,
    devices  BIGINT NOT NULL,
    seen     BIGINT NOT NULL,
    PRIMARY KEY (app, day, channel, platform, native, running, target, standing)
);

-- Devices on which something became true of a version, by the day when that was learned.
CREATE TABLE funnel (
    app      BIGINT NOT NULL,
    version  TEXT COLLATE "C" NOT NULL,
    day      BIGINT NOT NULL,
    channel  TEXT COLLATE "C" NOT NULL,
    platform TEXT COLLATE "C" NOT NULL,
    fact     BIGINT NOT NULL,
    devices  BIGINT NOT NULL,
    PRIMARY KEY (app, version, day, channel, platform, fact)
);

-- When a version was offered first on a channel (0 percent), and when so many percent of the active devices ran it.
CREATE TABLE coverage (
    app     BIGINT NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    percent BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (app, channel, version, percent)
);

UPDATE meta SET value = '5' WHERE name = 'schema';
