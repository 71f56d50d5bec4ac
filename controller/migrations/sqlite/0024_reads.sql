-- What lies where on primary storages, and what has happened, as ZStack's clients know them.
CREATE VIEW image_cache_view AS
SELECT c.image_uuid, c.primary_storage_uuid, c.host_uuid,
    'file://' || c.install_path || ';hostUuid://' || c.host_uuid AS install_url,
    i.media_type, c.size, CAST('Ready' AS TEXT) AS state
FROM image_cache c LEFT JOIN image i ON i.uuid = c.image_uuid;
CREATE VIEW local_storage_resource AS
SELECT v.uuid AS resource_uuid, v.primary_storage_uuid, v.host_uuid, v.size,
    CAST('VolumeVO' AS TEXT) AS resource_type, v.create_date, v.last_op_date
FROM volume v WHERE v.primary_storage_uuid IS NOT NULL AND v.host_uuid IS NOT NULL;
CREATE VIEW event_log AS
SELECT seq AS id, name AS category, payload AS content, resource AS resource_uuid, create_date FROM event;
