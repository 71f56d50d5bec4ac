-- Hosts whose fencer renews a lease on a storage, and after how many seconds without one it has killed what works
-- there: never less than what the host was told.
CREATE TABLE ha_fencer (
    host_uuid TEXT NOT NULL REFERENCES host (uuid) ON DELETE CASCADE,
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid) ON DELETE CASCADE,
    interval_seconds BIGINT NOT NULL,
    seconds BIGINT NOT NULL,
    strategy TEXT NOT NULL,
    PRIMARY KEY (host_uuid, primary_storage_uuid)
);
CREATE INDEX ha_fencer_storage ON ha_fencer (primary_storage_uuid);
-- How giving a host up stands, or ended last.
CREATE TABLE ha_fencing (
    uuid TEXT PRIMARY KEY,
    host_uuid TEXT NOT NULL UNIQUE REFERENCES host (uuid) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('Watching', 'Alive', 'Undecided', 'Held', 'Fencing', 'Fenced', 'Returned')),
    reason TEXT NOT NULL,
    evidence TEXT,
    -- How often the host had been connected by then: what was learnt does not hold after the next time.
    connection BIGINT NOT NULL,
    fenced_date BIGINT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
-- The storages on which the host is known to write no more.
CREATE TABLE ha_fenced (
    host_uuid TEXT NOT NULL REFERENCES ha_fencing (host_uuid) ON DELETE CASCADE,
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid) ON DELETE CASCADE,
    PRIMARY KEY (host_uuid, primary_storage_uuid)
);
CREATE INDEX ha_fenced_storage ON ha_fenced (primary_storage_uuid);
