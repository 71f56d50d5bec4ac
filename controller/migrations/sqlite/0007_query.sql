-- Short texts on resources of any kind. A tag goes with its resource, and is never shown without it.
CREATE TABLE user_tag (
    uuid TEXT PRIMARY KEY,
    resource_uuid TEXT NOT NULL,
    -- As ZStack names it: VmInstanceVO
    resource_type TEXT NOT NULL,
    tag TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (resource_uuid, tag)
);
CREATE INDEX user_tag_tag ON user_tag (tag, resource_uuid);
CREATE TABLE system_tag (
    uuid TEXT PRIMARY KEY,
    resource_uuid TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    tag TEXT NOT NULL,
    -- Which declared pattern it is of: hostname::{hostname}
    pattern TEXT NOT NULL,
    -- The cloud's own, not for users to change.
    inherent BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (resource_uuid, tag)
);
CREATE INDEX system_tag_tag ON system_tag (tag, resource_uuid);

-- As clients see them.
CREATE VIEW user_tag_view AS SELECT g.*, CAST('User' AS TEXT) AS type FROM user_tag g;
CREATE VIEW system_tag_view AS SELECT g.*, CAST('System' AS TEXT) AS type FROM system_tag g;

-- An attachment counts once it is complete.
CREATE VIEW l2_network_attached AS
SELECT l2_network_uuid, cluster_uuid FROM l2_network_cluster WHERE state = 'Attached';

-- By what users look for things, and in what order, when there are many: the key follows, for pages.
CREATE INDEX vm_instance_name ON vm_instance (name, uuid);
CREATE INDEX vm_instance_state ON vm_instance (state, uuid);
CREATE INDEX vm_instance_create_date ON vm_instance (create_date, uuid);
CREATE INDEX vm_instance_cluster ON vm_instance (cluster_uuid);
CREATE INDEX vm_instance_image ON vm_instance (image_uuid);
CREATE INDEX vm_instance_offering ON vm_instance (instance_offering_uuid);
CREATE INDEX vm_instance_root_volume ON vm_instance (root_volume_uuid);
CREATE INDEX vm_instance_default_l3 ON vm_instance (default_l3_network_uuid);
CREATE INDEX volume_name ON volume (name, uuid);
CREATE INDEX volume_create_date ON volume (create_date, uuid);
CREATE INDEX volume_root_image ON volume (root_image_uuid);
CREATE INDEX volume_host ON volume (host_uuid);
CREATE INDEX vm_nic_ip ON vm_nic (ip);
CREATE INDEX used_ip_ip ON used_ip (ip);
CREATE INDEX host_name ON host (name, uuid);
CREATE INDEX host_state ON host (state, uuid);
CREATE INDEX host_status ON host (status, uuid);
CREATE INDEX host_create_date ON host (create_date, uuid);
CREATE INDEX host_zone ON host (zone_uuid);
CREATE INDEX host_machine ON host (machine_uuid);
CREATE INDEX image_name ON image (name, uuid);
CREATE INDEX l3_network_zone ON l3_network (zone_uuid);
CREATE INDEX primary_storage_cluster_cluster ON primary_storage_cluster (cluster_uuid);
CREATE INDEX primary_storage_host_host ON primary_storage_host (host_uuid);
CREATE INDEX backup_storage_zone_zone ON backup_storage_zone (zone_uuid);
CREATE INDEX flow_job ON flow (job);
CREATE INDEX flow_resource ON flow (resource);
