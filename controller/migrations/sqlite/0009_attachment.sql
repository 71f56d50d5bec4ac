-- Attachments are resources of their own: detaching deletes them.
ALTER TABLE primary_storage_cluster ADD COLUMN uuid TEXT NOT NULL DEFAULT '';
ALTER TABLE primary_storage_cluster ADD COLUMN state TEXT NOT NULL DEFAULT 'Attached'
    CHECK (state IN ('Attaching', 'Attached', 'Detaching'));
UPDATE primary_storage_cluster SET uuid = lower(hex(randomblob(16)));
CREATE UNIQUE INDEX primary_storage_cluster_uuid ON primary_storage_cluster (uuid);
ALTER TABLE l2_network_cluster ADD COLUMN uuid TEXT NOT NULL DEFAULT '';
UPDATE l2_network_cluster SET uuid = lower(hex(randomblob(16)));
CREATE UNIQUE INDEX l2_network_cluster_uuid ON l2_network_cluster (uuid);
