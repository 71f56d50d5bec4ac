-- Attachments are resources of their own: detaching deletes them.
ALTER TABLE primary_storage_cluster ADD COLUMN uuid TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE primary_storage_cluster ADD COLUMN state TEXT COLLATE "C" NOT NULL DEFAULT 'Attached'
    CHECK (state IN ('Attaching', 'Attached', 'Detaching'));
UPDATE primary_storage_cluster SET uuid = replace(CAST(gen_random_uuid() AS TEXT), '-', '');
CREATE UNIQUE INDEX primary_storage_cluster_uuid ON primary_storage_cluster (uuid);
ALTER TABLE l2_network_cluster ADD COLUMN uuid TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE l2_network_cluster SET uuid = replace(CAST(gen_random_uuid() AS TEXT), '-', '');
CREATE UNIQUE INDEX l2_network_cluster_uuid ON l2_network_cluster (uuid);
