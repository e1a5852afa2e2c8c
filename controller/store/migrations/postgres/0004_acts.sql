-- What people did to the data of devices: erasures, and channels chosen for support. Names no device.
CREATE TABLE acts (
    seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      BIGINT NOT NULL,
    app     BIGINT NOT NULL,
    -- erase, override or release.
    kind    TEXT COLLATE "C" NOT NULL,
    who     TEXT   NOT NULL,
    why     TEXT   NOT NULL,
    -- How many devices it was about.
    devices BIGINT NOT NULL,
    channel TEXT COLLATE "C",
    expires BIGINT
);

-- Who put a device on its channel, and why, when a person did.
ALTER TABLE overrides ADD COLUMN who TEXT;
ALTER TABLE overrides ADD COLUMN why TEXT;

UPDATE meta SET value = '4' WHERE name = 'schema';
