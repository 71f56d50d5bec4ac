-- The controllers that are alive, as ZStack's clients know them.
CREATE VIEW management_node_view AS
SELECT uuid, url AS host_name, join_date * 1000 AS join_date, lease_until * 1000 AS heart_beat FROM node;

CREATE TABLE disk_offering (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    disk_size BIGINT NOT NULL,
    sort_key BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    type TEXT COLLATE "C" NOT NULL,
    allocator_strategy TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX disk_offering_name ON disk_offering (name);
CREATE TRIGGER disk_offering_owned AFTER INSERT ON disk_offering FOR EACH ROW EXECUTE FUNCTION resource_owned('DiskOfferingVO');
CREATE TRIGGER disk_offering_disowned AFTER DELETE ON disk_offering FOR EACH ROW EXECUTE FUNCTION resource_disowned();
