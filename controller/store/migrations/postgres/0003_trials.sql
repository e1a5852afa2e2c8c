-- Rollouts as trials: who enrolled, what became of it, and how many devices use a channel.

-- A rollout of a line, by a small number. Nobody enrols in one that ended.
CREATE TABLE rollouts (
    id        BIGINT NOT NULL PRIMARY KEY,
    app       BIGINT NOT NULL,
    channel   TEXT COLLATE "C" NOT NULL,
    line      TEXT COLLATE "C" NOT NULL,
    serial    BIGINT NOT NULL,
    candidate TEXT COLLATE "C" NOT NULL,
    started   BIGINT NOT NULL,
    -- Seconds after its enrolment in which bad health of a device counts.
    horizon   BIGINT NOT NULL,
    ended     BIGINT,
    -- When its journal and its enrolments were gone.
    cleared   BIGINT,
    UNIQUE (app, channel, line, serial)
);

-- How many devices enrolled in a level, and how many did that weigh nothing, by reason.
CREATE TABLE levels (
    rollout        BIGINT NOT NULL,
    level          BIGINT NOT NULL,
    enrolled       BIGINT NOT NULL,
    new            BIGINT NOT NULL,
    not_production BIGINT NOT NULL,
    crowd          BIGINT NOT NULL,
    PRIMARY KEY (rollout, level)
);

-- The present enrolment of a device in a rollout. The device comes before the rollout, because whatever a device does is
-- looked up for all of its rollouts at once.
CREATE TABLE enrolments (
    app         BIGINT NOT NULL,
    device      BYTEA   NOT NULL,
    rollout     BIGINT NOT NULL,
    level       BIGINT NOT NULL,
    -- 0: treatment, 1: control.
    arm         BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    -- Place in its level; nothing for one that weighs nothing, and then `discount` says why (0: new, 1: not production,
    -- 2: crowd).
    ordinal     BIGINT,
    discount    BIGINT,
    -- What failed: 1 health, 2 silence, 4 launch, 8 install.
    failed      BIGINT NOT NULL,
    launched_at BIGINT,
    -- Seconds that may pass without a contact; nothing when too little is known of the device's habits.
    patience    BIGINT,
    -- When the silence is too long; nothing once there was a contact.
    silence_due BIGINT,
    PRIMARY KEY (app, device, rollout)
);
CREATE INDEX enrolments_by_silence ON enrolments (silence_due) WHERE silence_due IS NOT NULL;

-- What happened in a rollout, in the order in which it was committed. No device is named.
CREATE TABLE journal (
    rollout  BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    -- 0: enrolled, 1: discounted, 2: failed, 3: launched, 4: left.
    kind     BIGINT NOT NULL,
    level    BIGINT NOT NULL,
    ordinal  BIGINT,
    arm      BIGINT,
    -- The bit of the metric, or the number of the discount.
    what     BIGINT,
    at       BIGINT,
    platform TEXT COLLATE "C",
    os       BIGINT,
    native   TEXT COLLATE "C",
    PRIMARY KEY (rollout, seq)
);

-- Young devices that enrolled from one network prefix. `prefix` is a keyed hash, and goes a day after it was used.
CREATE TABLE prefixes (
    rollout  BIGINT NOT NULL,
    prefix   BIGINT NOT NULL,
    enrolled BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (rollout, prefix)
);

-- Devices by channel and the day of their last contact, for the last days. No channel is an empty name.
CREATE TABLE active (
    app     BIGINT NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    day     BIGINT NOT NULL,
    devices BIGINT NOT NULL,
    PRIMARY KEY (app, channel, day)
);

INSERT INTO active (app, channel, day, devices)
SELECT app, COALESCE(channel, ''), last_seen / 86400, COUNT(*) FROM devices
GROUP BY app, COALESCE(channel, ''), last_seen / 86400;

UPDATE meta SET value = '3' WHERE name = 'schema';
