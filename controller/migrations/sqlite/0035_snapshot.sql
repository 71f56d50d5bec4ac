-- A second file of a volume: where it is about to go on, or what it has just left.
ALTER TABLE volume ADD COLUMN spare_path TEXT;
CREATE INDEX volume_spare_path ON volume (spare_path) WHERE spare_path IS NOT NULL;

-- The snapshots of a volume that stand on one another. The volume goes on in the current one.
CREATE TABLE volume_snapshot_tree (
    uuid TEXT PRIMARY KEY,
    volume_uuid TEXT NOT NULL REFERENCES volume (uuid) ON DELETE CASCADE,
    current BOOLEAN NOT NULL,
    status TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX volume_snapshot_tree_volume ON volume_snapshot_tree (volume_uuid);

-- A snapshot's row is its claim on the storage's space.
CREATE TABLE volume_snapshot (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    type TEXT NOT NULL,
    volume_uuid TEXT NOT NULL REFERENCES volume (uuid) ON DELETE CASCADE,
    tree_uuid TEXT NOT NULL REFERENCES volume_snapshot_tree (uuid) ON DELETE CASCADE,
    parent_uuid TEXT,
    primary_storage_uuid TEXT REFERENCES primary_storage (uuid),
    host_uuid TEXT REFERENCES host (uuid),
    primary_storage_install_path TEXT,
    volume_type TEXT NOT NULL,
    format TEXT NOT NULL,
    latest BOOLEAN NOT NULL,
    size BIGINT NOT NULL,
    distance BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    status TEXT NOT NULL CHECK (status IN ('Creating', 'Ready', 'Deleting')),
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX volume_snapshot_volume ON volume_snapshot (volume_uuid);
CREATE INDEX volume_snapshot_tree_of ON volume_snapshot (tree_uuid);
CREATE INDEX volume_snapshot_parent ON volume_snapshot (parent_uuid);
CREATE INDEX volume_snapshot_path ON volume_snapshot (primary_storage_install_path);
CREATE INDEX volume_snapshot_name ON volume_snapshot (name);

-- Snapshots of all volumes of a VM, of one moment.
CREATE TABLE volume_snapshot_group (
    uuid TEXT PRIMARY KEY,
    snapshot_count BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    vm_instance_uuid TEXT NOT NULL REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX volume_snapshot_group_vm ON volume_snapshot_group (vm_instance_uuid);
CREATE TABLE volume_snapshot_group_ref (
    volume_snapshot_uuid TEXT PRIMARY KEY,
    volume_snapshot_group_uuid TEXT NOT NULL REFERENCES volume_snapshot_group (uuid) ON DELETE CASCADE,
    device_id BIGINT NOT NULL,
    snapshot_deleted BOOLEAN NOT NULL,
    volume_uuid TEXT NOT NULL,
    volume_name TEXT NOT NULL,
    volume_type TEXT NOT NULL,
    volume_snapshot_install_path TEXT,
    volume_snapshot_name TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX volume_snapshot_group_ref_group ON volume_snapshot_group_ref (volume_snapshot_group_uuid);

CREATE VIEW volume_snapshot_view AS
SELECT s.*, r.volume_snapshot_group_uuid AS group_uuid
FROM volume_snapshot s LEFT JOIN volume_snapshot_group_ref r ON r.volume_snapshot_uuid = s.uuid;

DROP VIEW local_storage_resource;
CREATE VIEW local_storage_resource AS
SELECT v.uuid AS resource_uuid, v.primary_storage_uuid, v.host_uuid, v.size,
    CAST('VolumeVO' AS TEXT) AS resource_type, v.create_date, v.last_op_date
FROM volume v WHERE v.primary_storage_uuid IS NOT NULL AND v.host_uuid IS NOT NULL
UNION ALL
SELECT s.uuid, s.primary_storage_uuid, s.host_uuid, s.size, CAST('VolumeSnapshotVO' AS TEXT), s.create_date,
    s.last_op_date
FROM volume_snapshot s WHERE s.primary_storage_uuid IS NOT NULL AND s.host_uuid IS NOT NULL;

CREATE TRIGGER volume_snapshot_comes AFTER INSERT ON volume_snapshot BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER volume_snapshot_changes AFTER UPDATE OF primary_storage_uuid, host_uuid, size ON volume_snapshot BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER volume_snapshot_goes AFTER DELETE ON volume_snapshot BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
    UPDATE volume_snapshot_group_ref SET snapshot_deleted = TRUE WHERE volume_snapshot_uuid = OLD.uuid;
    DELETE FROM volume_snapshot_group WHERE uuid IN (SELECT r.volume_snapshot_group_uuid
            FROM volume_snapshot_group_ref r WHERE r.volume_snapshot_uuid = OLD.uuid)
        AND NOT EXISTS (SELECT 1 FROM volume_snapshot_group_ref o
            WHERE o.volume_snapshot_group_uuid = volume_snapshot_group.uuid AND NOT o.snapshot_deleted);
    DELETE FROM volume_snapshot_tree WHERE uuid = OLD.tree_uuid
        AND NOT EXISTS (SELECT 1 FROM volume_snapshot s WHERE s.tree_uuid = OLD.tree_uuid);
END;
CREATE TRIGGER volume_snapshot_tree_owned AFTER INSERT ON volume_snapshot_tree BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'VolumeSnapshotTreeVO', NEW.volume_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.volume_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER volume_snapshot_tree_disowned AFTER DELETE ON volume_snapshot_tree BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER volume_snapshot_owned AFTER INSERT ON volume_snapshot BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'VolumeSnapshotVO', NEW.volume_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.volume_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER volume_snapshot_disowned AFTER DELETE ON volume_snapshot BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER volume_snapshot_group_owned AFTER INSERT ON volume_snapshot_group BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'VolumeSnapshotGroupVO', NEW.vm_instance_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.vm_instance_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER volume_snapshot_group_disowned AFTER DELETE ON volume_snapshot_group BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
