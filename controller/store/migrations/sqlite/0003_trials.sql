-- Rollouts as trials: who enrolled, what became of it, and how many devices use a channel.

-- A rollout of a line, by a small number. Nobody enrols in one that ended.
CREATE TABLE rollouts (
    id        INTEGER NOT NULL PRIMARY KEY,
    app       INTEGER NOT NULL,
    channel   TEXT    NOT NULL,
    line      TEXT    NOT NULL,
    serial    INTEGER NOT NULL,
    candidate TEXT    NOT NULL,
    started   INTEGER NOT NULL,
    -- Seconds after its enrolment in which bad health of a device counts.
    horizon   INTEGER NOT NULL,
    ended     INTEGER,
    -- When its journal and its enrolments were gone.
    cleared   INTEGER,
    UNIQUE (app, channel, line, serial)
);

-- How many devices enrolled in a level, and how many did that weigh nothing, by reason.
CREATE TABLE levels (
    rollout        INTEGER NOT NULL,
    level          INTEGER NOT NULL,
    enrolled       INTEGER NOT NULL,
    new            INTEGER NOT NULL,
    not_production INTEGER NOT NULL,
    crowd          INTEGER NOT NULL,
    PRIMARY KEY (rollout, level)
) WITHOUT ROWID;

-- The present enrolment of a device in a rollout. The device comes before the rollout, because whatever a device does is
-- looked up for all of its rollouts at once.
CREATE TABLE enrolments (
    app         INTEGER NOT NULL,
    device      BLOB    NOT NULL,
    rollout     INTEGER NOT NULL,
    level       INTEGER NOT NULL,
    -- 0: treatment, 1: control.
    arm         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    -- Place in its level; nothing for one that weighs nothing, and then `discount` says why (0: new, 1: not production,
    -- 2: crowd).
    ordinal     INTEGER,
    discount    INTEGER,
    -- What failed: 1 health, 2 silence, 4 launch, 8 install.
    failed      INTEGER NOT NULL,
    launched_at INTEGER,
    -- Seconds that may pass without a contact; nothing when too little is known of the device's habits.
    patience    INTEGER,
    -- When the silence is too long; nothing once there was a contact.
    silence_due INTEGER,
    PRIMARY KEY (app, device, rollout)
) WITHOUT ROWID;
CREATE INDEX enrolments_by_silence ON enrolments (silence_due) WHERE silence_due IS NOT NULL;

-- What happened in a rollout, in the order in which it was committed. No device is named.
CREATE TABLE journal (
    rollout  INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    -- 0: enrolled, 1: discounted, 2: failed, 3: launched, 4: left.
    kind     INTEGER NOT NULL,
    level    INTEGER NOT NULL,
    ordinal  INTEGER,
    arm      INTEGER,
    -- The bit of the metric, or the number of the discount.
    what     INTEGER,
    at       INTEGER,
    platform TEXT,
    os       INTEGER,
    native   TEXT,
    PRIMARY KEY (rollout, seq)
) WITHOUT ROWID;

-- Young devices that enrolled from one network prefix. `prefix` is a keyed hash, and goes a day after it was used.
CREATE TABLE prefixes (
    rollout  INTEGER NOT NULL,
    prefix   INTEGER NOT NULL,
    enrolled INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (rollout, prefix)
) WITHOUT ROWID;

-- Devices by channel and the day of their last contact, for the last days. No channel is an empty name.
CREATE TABLE active (
    app     INTEGER NOT NULL,
    channel TEXT    NOT NULL,
    day     INTEGER NOT NULL,
    devices INTEGER NOT NULL,
    PRIMARY KEY (app, channel, day)
) WITHOUT ROWID;

INSERT INTO active (app, channel, day, devices)
SELECT app, COALESCE(channel, ''), last_seen / 86400, COUNT(*) FROM devices
GROUP BY app, COALESCE(channel, ''), last_seen / 86400;

UPDATE meta SET value = '3' WHERE name = 'schema';
