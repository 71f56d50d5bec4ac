-- Storages that several hosts have in common. What lies there lies on no host.
ALTER TABLE primary_storage ADD COLUMN shared BOOLEAN NOT NULL DEFAULT FALSE;

-- Who works on the files of a volume that lies on no host: said when a flow begins, and kept until another does.
ALTER TABLE volume ADD COLUMN hand_uuid TEXT REFERENCES host (uuid) ON DELETE SET NULL;

CREATE INDEX volume_hand ON volume (hand_uuid) WHERE hand_uuid IS NOT NULL;

-- A copy of an image in the cache of a storage: on one of its hosts, or for all of them.
DROP VIEW image_cache_view;
CREATE TABLE image_cached (
    image_uuid TEXT NOT NULL,
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid) ON DELETE CASCADE,
    host_uuid TEXT REFERENCES host (uuid) ON DELETE CASCADE,
    install_path TEXT NOT NULL,
    size BIGINT NOT NULL,
    format TEXT,
    virtual_size BIGINT
);
INSERT INTO image_cached (image_uuid, primary_storage_uuid, host_uuid, install_path, size, format, virtual_size)
    SELECT image_uuid, primary_storage_uuid, host_uuid, install_path, size, format, virtual_size FROM image_cache;
DROP TABLE image_cache;
ALTER TABLE image_cached RENAME TO image_cache;
CREATE UNIQUE INDEX image_cache_place ON image_cache (image_uuid, primary_storage_uuid, coalesce(host_uuid, ''));
CREATE TRIGGER image_cache_comes AFTER INSERT ON image_cache BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER image_cache_changes AFTER UPDATE OF primary_storage_uuid, host_uuid, size ON image_cache BEGIN
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
CREATE TRIGGER image_cache_goes AFTER DELETE ON image_cache BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE VIEW image_cache_view AS
SELECT c.image_uuid, c.primary_storage_uuid, c.host_uuid,
    'file://' || c.install_path || coalesce(';hostUuid://' || c.host_uuid, '') AS install_url,
    i.media_type, c.size, CAST('Ready' AS TEXT) AS state
FROM image_cache c LEFT JOIN image i ON i.uuid = c.image_uuid;

-- Every host of a shared storage tells of the same space.
DROP VIEW primary_storage_view;
CREATE VIEW primary_storage_view AS
SELECT p.*,
    (SELECT CAST(coalesce(CASE WHEN p.shared THEN max(h.total_capacity) ELSE sum(h.total_capacity) END, 0) AS BIGINT)
        FROM primary_storage_host h WHERE h.primary_storage_uuid = p.uuid) AS total_capacity,
    (SELECT CAST(coalesce(CASE WHEN p.shared THEN max(h.total_capacity) ELSE sum(h.total_capacity) END, 0) AS BIGINT)
        FROM primary_storage_host h WHERE h.primary_storage_uuid = p.uuid)
        - (SELECT CAST(coalesce(sum(u.size), 0) AS BIGINT) FROM primary_storage_usage u
            WHERE u.primary_storage_uuid = p.uuid) AS available_capacity,
    (SELECT CAST(coalesce(CASE WHEN p.shared THEN max(h.total_capacity) ELSE sum(h.total_capacity) END, 0) AS BIGINT)
        FROM primary_storage_host h WHERE h.primary_storage_uuid = p.uuid) AS total_physical_capacity,
    (SELECT CAST(coalesce(CASE WHEN p.shared THEN max(h.available_physical) ELSE sum(h.available_physical) END, 0)
        AS BIGINT) FROM primary_storage_host h WHERE h.primary_storage_uuid = p.uuid) AS available_physical_capacity
FROM primary_storage p;
