-- Bytes of a zip that were sent to devices on a day, by whoever of us sent them. `zip` is its SHA-256.
CREATE TABLE traffic (
    day   BIGINT NOT NULL,
    zip   BYTEA   NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (day, zip)
);

UPDATE meta SET value = '6' WHERE name = 'schema';
