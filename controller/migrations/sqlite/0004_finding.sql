-- What was found on a host or a backup storage and should not be so.
CREATE TABLE finding (
    -- Derived from the place, the kind and the name: the same thing is the same finding, whoever finds it.
    uuid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    host_uuid TEXT REFERENCES host (uuid) ON DELETE CASCADE,
    backup_storage_uuid TEXT REFERENCES backup_storage (uuid) ON DELETE CASCADE,
    agent TEXT NOT NULL,
    name TEXT NOT NULL,
    -- What its owner has written on it.
    mark TEXT,
    owner_uuid TEXT,
    detail TEXT NOT NULL,
    repairable BOOLEAN NOT NULL,
    consent TEXT NOT NULL CHECK (consent IN ('observe', 'repair')),
    state TEXT NOT NULL CHECK (state IN ('Suspected', 'Open', 'Repaired', 'Gone', 'Ignored')),
    -- Why the last repair failed.
    error TEXT,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX finding_host ON finding (host_uuid);
CREATE INDEX finding_backup_storage ON finding (backup_storage_uuid);
CREATE INDEX finding_state ON finding (state, last_op_date);

-- By what inventories name things.
CREATE INDEX volume_install_path ON volume (install_path);
CREATE INDEX vm_nic_internal_name ON vm_nic (internal_name);
