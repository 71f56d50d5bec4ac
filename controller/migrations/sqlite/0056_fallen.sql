ALTER TABLE host ADD COLUMN connections BIGINT NOT NULL DEFAULT 0;
-- Why the VM stopped without being asked to: 'Host' (its host was given up, or lost its storage) or 'Itself'.
ALTER TABLE vm_instance ADD COLUMN fallen TEXT;
CREATE INDEX vm_instance_fallen ON vm_instance (fallen) WHERE fallen IS NOT NULL;
-- How often a VM that has fallen was started again, and when it is next.
CREATE TABLE ha_restart (
    vm_instance_uuid TEXT PRIMARY KEY REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    attempts BIGINT NOT NULL,
    due BIGINT NOT NULL,
    error TEXT,
    last_op_date BIGINT NOT NULL
);
-- Few of very many.
CREATE INDEX host_lost ON host (uuid) WHERE status = 'Disconnected';
