-- Directories that resources are sorted into, each into one at most.
CREATE TABLE directory (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    parent_uuid TEXT COLLATE "C" REFERENCES directory (uuid),
    zone_uuid TEXT COLLATE "C" NOT NULL REFERENCES zone (uuid),
    type TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX directory_parent ON directory (parent_uuid);
CREATE INDEX directory_zone ON directory (zone_uuid);
CREATE TRIGGER directory_owned AFTER INSERT ON directory FOR EACH ROW EXECUTE FUNCTION resource_owned('DirectoryVO');
CREATE TRIGGER directory_disowned AFTER DELETE ON directory FOR EACH ROW EXECUTE FUNCTION resource_disowned();
CREATE TABLE directory_resource (
    resource_uuid TEXT COLLATE "C" PRIMARY KEY REFERENCES account_resource_ref (resource_uuid) ON DELETE CASCADE,
    directory_uuid TEXT COLLATE "C" NOT NULL REFERENCES directory (uuid) ON DELETE CASCADE
);
CREATE INDEX directory_resource_directory ON directory_resource (directory_uuid);
CREATE VIEW directory_view AS
WITH RECURSIVE tree (uuid, group_name, root_directory_uuid) AS (
    SELECT uuid, name, uuid FROM directory WHERE parent_uuid IS NULL
    UNION ALL SELECT d.uuid, t.group_name || '/' || d.name, t.root_directory_uuid
        FROM directory d JOIN tree t ON t.uuid = d.parent_uuid)
SELECT d.*, t.group_name, t.root_directory_uuid FROM directory d JOIN tree t ON t.uuid = d.uuid;
