-- Storages that several hosts have in common. What lies there lies on no host.
ALTER TABLE primary_storage ADD COLUMN shared BOOLEAN NOT NULL DEFAULT FALSE;

-- Who works on the files of a volume that lies on no host: said when a flow begins, and kept until another does.
ALTER TABLE volume ADD COLUMN hand_uuid TEXT COLLATE "C" REFERENCES host (uuid) ON DELETE SET NULL;

CREATE INDEX volume_hand ON volume (hand_uuid) WHERE hand_uuid IS NOT NULL;

-- A copy of an image in the cache of a storage: on one of its hosts, or for all of them.
DROP VIEW image_cache_view;
ALTER TABLE image_cache DROP CONSTRAINT image_cache_pkey;
ALTER TABLE image_cache ALTER COLUMN host_uuid DROP NOT NULL;
CREATE UNIQUE INDEX image_cache_place ON image_cache (image_uuid, primary_storage_uuid, coalesce(host_uuid, ''));
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
