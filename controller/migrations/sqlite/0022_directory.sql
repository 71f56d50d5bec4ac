-- Directories that resources are sorted into, each into one at most.
CREATE TABLE directory (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    parent_uuid TEXT REFERENCES directory (uuid),
    zone_uuid TEXT NOT NULL REFERENCES zone (uuid),
    type TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX directory_parent ON directory (parent_uuid);
CREATE INDEX directory_zone ON directory (zone_uuid);
CREATE TRIGGER directory_owned AFTER INSERT ON directory BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'DirectoryVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER directory_disowned AFTER DELETE ON directory BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TABLE directory_resource (
    resource_uuid TEXT PRIMARY KEY REFERENCES account_resource_ref (resource_uuid) ON DELETE CASCADE,
    directory_uuid TEXT NOT NULL REFERENCES directory (uuid) ON DELETE CASCADE
);
CREATE INDEX directory_resource_directory ON directory_resource (directory_uuid);
CREATE VIEW directory_view AS
WITH RECURSIVE tree (uuid, group_name, root_directory_uuid) AS (
    SELECT uuid, name, uuid FROM directory WHERE parent_uuid IS NULL
    UNION ALL SELECT d.uuid, t.group_name || '/' || d.name, t.root_directory_uuid
        FROM directory d JOIN tree t ON t.uuid = d.parent_uuid)
SELECT d.*, t.group_name, t.root_directory_uuid FROM directory d JOIN tree t ON t.uuid = d.uuid;
