-- What a VM takes of the host that it is about to move to, beside what it takes of the one where it runs.
CREATE TABLE vm_move (
    vm_instance_uuid TEXT PRIMARY KEY REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    host_uuid TEXT NOT NULL REFERENCES host (uuid),
    cpu BIGINT NOT NULL,
    memory BIGINT NOT NULL
);
CREATE INDEX vm_move_host ON vm_move (host_uuid);
-- Files of volumes on another host: where they are about to be, or what they have left.
CREATE TABLE volume_copy (
    volume_uuid TEXT NOT NULL REFERENCES volume (uuid) ON DELETE CASCADE,
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid),
    host_uuid TEXT NOT NULL REFERENCES host (uuid),
    install_path TEXT NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (volume_uuid, install_path)
);
CREATE INDEX volume_copy_host ON volume_copy (host_uuid);
CREATE INDEX volume_copy_path ON volume_copy (install_path);

CREATE TRIGGER vm_move_comes AFTER INSERT ON vm_move BEGIN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT NEW.host_uuid, NEW.cpu, NEW.memory, 1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = NEW.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
END;
CREATE TRIGGER vm_move_goes AFTER DELETE ON vm_move BEGIN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT OLD.host_uuid, -OLD.cpu, -OLD.memory, -1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = OLD.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
END;
CREATE TRIGGER volume_copy_comes AFTER INSERT ON volume_copy BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER volume_copy_changes AFTER UPDATE OF primary_storage_uuid, host_uuid, size ON volume_copy BEGIN
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
CREATE TRIGGER volume_copy_goes AFTER DELETE ON volume_copy BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
