-- What a VM takes of the host that it is about to move to, beside what it takes of the one where it runs.
CREATE TABLE vm_move (
    vm_instance_uuid TEXT COLLATE "C" PRIMARY KEY REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    host_uuid TEXT COLLATE "C" NOT NULL REFERENCES host (uuid),
    cpu BIGINT NOT NULL,
    memory BIGINT NOT NULL
);
CREATE INDEX vm_move_host ON vm_move (host_uuid);
-- Files of volumes on another host: where they are about to be, or what they have left.
CREATE TABLE volume_copy (
    volume_uuid TEXT COLLATE "C" NOT NULL REFERENCES volume (uuid) ON DELETE CASCADE,
    primary_storage_uuid TEXT COLLATE "C" NOT NULL REFERENCES primary_storage (uuid),
    host_uuid TEXT COLLATE "C" NOT NULL REFERENCES host (uuid),
    install_path TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (volume_uuid, install_path)
);
CREATE INDEX volume_copy_host ON volume_copy (host_uuid);
CREATE INDEX volume_copy_path ON volume_copy (install_path);

CREATE FUNCTION vm_move_counted() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT OLD.host_uuid, -OLD.cpu, -OLD.memory, -1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = OLD.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
    END IF;
    IF TG_OP <> 'DELETE' THEN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT NEW.host_uuid, NEW.cpu, NEW.memory, 1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = NEW.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER vm_move_comes AFTER INSERT OR DELETE ON vm_move FOR EACH ROW EXECUTE FUNCTION vm_move_counted();
CREATE FUNCTION volume_copy_counted() RETURNS TRIGGER LANGUAGE plpgsql AS $$
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
    RETURN NULL;
END $$;
CREATE TRIGGER volume_copy_comes AFTER INSERT OR DELETE OR UPDATE OF primary_storage_uuid, host_uuid, size ON volume_copy
    FOR EACH ROW EXECUTE FUNCTION volume_copy_counted();
