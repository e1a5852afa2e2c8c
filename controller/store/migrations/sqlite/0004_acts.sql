-- What people did to the data of devices: erasures, and channels chosen for support. Names no device.
CREATE TABLE acts (
    seq     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    app     INTEGER NOT NULL,
    -- erase, override or release.
    kind    TEXT    NOT NULL,
    who     TEXT    NOT NULL,
    why     TEXT    NOT NULL,
    -- How many devices it was about.
    devices INTEGER NOT NULL,
    channel TEXT,
    expires INTEGER
);

-- Who put a device on its channel, and why, when a person did.
ALTER TABLE overrides ADD COLUMN who TEXT;
ALTER TABLE overrides ADD COLUMN why TEXT;

UPDATE meta SET value = '4' WHERE name = 'schema';
