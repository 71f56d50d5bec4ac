-- What is looked for now and then, in tables that grow without end, and what refers to what is deleted.
CREATE INDEX volume_deleted ON volume (last_op_date) WHERE status = 'Deleted';
CREATE INDEX volume_snapshot_storage ON volume_snapshot (primary_storage_uuid);
CREATE INDEX volume_snapshot_host ON volume_snapshot (host_uuid) WHERE host_uuid IS NOT NULL;
CREATE INDEX image_cache_storage ON image_cache (primary_storage_uuid, host_uuid);
CREATE INDEX image_cache_host ON image_cache (host_uuid) WHERE host_uuid IS NOT NULL;
CREATE INDEX image_cache_path ON image_cache (install_path);
CREATE INDEX session_user_uuid ON session (user_uuid) WHERE user_uuid IS NOT NULL;
-- Few VMs are fallen, and half of all may be stopped.
DROP INDEX vm_instance_fallen;
CREATE INDEX vm_instance_fallen ON vm_instance (state, last_host_uuid) WHERE fallen IS NOT NULL;
