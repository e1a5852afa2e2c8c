-- Bytes of a zip that were sent to devices on a day, by whoever of us sent them. `zip` is its SHA-256.
CREATE TABLE traffic (
    day   INTEGER NOT NULL,
    zip   BLOB    NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (day, zip)
) WITHOUT ROWID;

UPDATE meta SET value = '6' WHERE name = 'schema';
