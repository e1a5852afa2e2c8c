-- Segments of gateways that were taken in, until their objects are gone: each counts once.
CREATE TABLE segments (
    id       BYTEA  NOT NULL PRIMARY KEY,
    ingested BIGINT NOT NULL
);

UPDATE meta SET value = '2' WHERE name = 'schema';
