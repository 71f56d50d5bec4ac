-- A flow changes at every step: no index over what changes then.
DROP INDEX flow_ended;
CREATE INDEX flow_ended ON flow (create_date) WHERE state IN ('done', 'undone', 'abandoned');

-- A volume that is as large as before, where it was before, takes nothing more.
DROP TRIGGER volume_changes;
CREATE TRIGGER volume_changes AFTER UPDATE OF primary_storage_uuid, host_uuid, size ON volume
    WHEN OLD.primary_storage_uuid IS NOT NEW.primary_storage_uuid
        OR OLD.host_uuid IS NOT NEW.host_uuid OR OLD.size <> NEW.size
BEGIN
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
