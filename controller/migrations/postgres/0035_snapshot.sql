-- A second file of a volume: where it is about to go on, or what it has just left.
ALTER TABLE volume ADD COLUMN spare_path TEXT COLLATE "C";
CREATE INDEX volume_spare_path ON volume (spare_path) WHERE spare_path IS NOT NULL;

-- The snapshots of a volume that stand on one another. The volume goes on in the current one.
CREATE TABLE volume_snapshot_tree (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    volume_uuid TEXT COLLATE "C" NOT NULL REFERENCES volume (uuid) ON DELETE CASCADE,
    current BOOLEAN NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX volume_snapshot_tree_volume ON volume_snapshot_tree (volume_uuid);

-- A snapshot's row is its claim on the storage's space.
CREATE TABLE volume_snapshot (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    type TEXT COLLATE "C" NOT NULL,
    volume_uuid TEXT COLLATE "C" NOT NULL REFERENCES volume (uuid) ON DELETE CASCADE,
    tree_uuid TEXT COLLATE "C" NOT NULL REFERENCES volume_snapshot_tree (uuid) ON DELETE CASCADE,
    parent_uuid TEXT COLLATE "C",
    primary_storage_uuid TEXT COLLATE "C" REFERENCES primary_storage (uuid),
    host_uuid TEXT COLLATE "C" REFERENCES host (uuid),
    primary_storage_install_path TEXT COLLATE "C",
    volume_type TEXT COLLATE "C" NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    latest BOOLEAN NOT NULL,
    size BIGINT NOT NULL,
    distance BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('Creating', 'Ready', 'Deleting')),
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
    uuid TEXT COLLATE "C" PRIMARY KEY,
    snapshot_count BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    vm_instance_uuid TEXT COLLATE "C" NOT NULL REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX volume_snapshot_group_vm ON volume_snapshot_group (vm_instance_uuid);
CREATE TABLE volume_snapshot_group_ref (
    volume_snapshot_uuid TEXT COLLATE "C" PRIMARY KEY,
    volume_snapshot_group_uuid TEXT COLLATE "C" NOT NULL REFERENCES volume_snapshot_group (uuid) ON DELETE CASCADE,
    device_id BIGINT NOT NULL,
    snapshot_deleted BOOLEAN NOT NULL,
    volume_uuid TEXT COLLATE "C" NOT NULL,
    volume_name TEXT COLLATE "C" NOT NULL,
    volume_type TEXT COLLATE "C" NOT NULL,
    volume_snapshot_install_path TEXT COLLATE "C",
    volume_snapshot_name TEXT COLLATE "C" NOT NULL,
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
    CAST('VolumeVO' AS TEXT) COLLATE "C" AS resource_type, v.create_date, v.last_op_date
FROM volume v WHERE v.primary_storage_uuid IS NOT NULL AND v.host_uuid IS NOT NULL
UNION ALL
SELECT s.uuid, s.primary_storage_uuid, s.host_uuid, s.size, CAST('VolumeSnapshotVO' AS TEXT) COLLATE "C", s.create_date,
    s.last_op_date
FROM volume_snapshot s WHERE s.primary_storage_uuid IS NOT NULL AND s.host_uuid IS NOT NULL;

CREATE FUNCTION volume_snapshot_counted() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
    END IF;
    IF TG_OP <> 'DELETE' THEN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
    END IF;
    IF TG_OP = 'DELETE' THEN
    UPDATE volume_snapshot_group_ref SET snapshot_deleted = TRUE WHERE volume_snapshot_uuid = OLD.uuid;
    DELETE FROM volume_snapshot_group WHERE uuid IN (SELECT r.volume_snapshot_group_uuid
            FROM volume_snapshot_group_ref r WHERE r.volume_snapshot_uuid = OLD.uuid)
        AND NOT EXISTS (SELECT 1 FROM volume_snapshot_group_ref o
            WHERE o.volume_snapshot_group_uuid = volume_snapshot_group.uuid AND NOT o.snapshot_deleted);
    DELETE FROM volume_snapshot_tree WHERE uuid = OLD.tree_uuid
        AND NOT EXISTS (SELECT 1 FROM volume_snapshot s WHERE s.tree_uuid = OLD.tree_uuid);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER volume_snapshot_comes AFTER INSERT OR DELETE OR UPDATE OF primary_storage_uuid, host_uuid, size ON volume_snapshot
    FOR EACH ROW EXECUTE FUNCTION volume_snapshot_counted();
CREATE TRIGGER volume_snapshot_tree_owned AFTER INSERT ON volume_snapshot_tree FOR EACH ROW EXECUTE FUNCTION resource_owned('VolumeSnapshotTreeVO', 'volume_uuid');
CREATE TRIGGER volume_snapshot_tree_disowned AFTER DELETE ON volume_snapshot_tree FOR EACH ROW EXECUTE FUNCTION resource_disowned();
CREATE TRIGGER volume_snapshot_owned AFTER INSERT ON volume_snapshot FOR EACH ROW EXECUTE FUNCTION resource_owned('VolumeSnapshotVO', 'volume_uuid');
CREATE TRIGGER volume_snapshot_disowned AFTER DELETE ON volume_snapshot FOR EACH ROW EXECUTE FUNCTION resource_disowned();
CREATE TRIGGER volume_snapshot_group_owned AFTER INSERT ON volume_snapshot_group FOR EACH ROW EXECUTE FUNCTION resource_owned('VolumeSnapshotGroupVO', 'vm_instance_uuid');
CREATE TRIGGER volume_snapshot_group_disowned AFTER DELETE ON volume_snapshot_group FOR EACH ROW EXECUTE FUNCTION resource_disowned();
