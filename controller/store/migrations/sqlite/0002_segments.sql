-- Segments of gateways that were taken in, until their objects are gone: each counts once.
CREATE TABLE segments (
    id       BLOB    NOT NULL PRIMARY KEY,
    ingested INTEGER NOT NULL
) WITHOUT ROWID;

UPDATE meta SET value = '2' WHERE name = 'schema';
