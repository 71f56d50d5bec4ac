-- The controllers that are alive, as ZStack's clients know them.
CREATE VIEW management_node_view AS
SELECT uuid, url AS host_name, join_date * 1000 AS join_date, lease_until * 1000 AS heart_beat FROM node;

CREATE TABLE disk_offering (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    disk_size BIGINT NOT NULL,
    sort_key BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    type TEXT NOT NULL,
    allocator_strategy TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX disk_offering_name ON disk_offering (name);
CREATE TRIGGER disk_offering_owned AFTER INSERT ON disk_offering BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'DiskOfferingVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER disk_offering_disowned AFTER DELETE ON disk_offering BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
