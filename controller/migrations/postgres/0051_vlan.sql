-- VLANs, and what guests of a network are told of their frames and of ways out of it.
CREATE VIEW l2_vlan_network AS
    SELECT l.*, l.virtual_network_id AS vlan FROM l2_network l WHERE l.type = 'L2VlanNetwork';
-- In bytes; without it what is usual.
ALTER TABLE l3_network ADD COLUMN mtu BIGINT;
CREATE TABLE l3_network_host_route (
    id BIGINT NOT NULL UNIQUE,
    l3_network_uuid TEXT COLLATE "C" NOT NULL REFERENCES l3_network (uuid) ON DELETE CASCADE,
    prefix TEXT COLLATE "C" NOT NULL,
    nexthop TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    PRIMARY KEY (l3_network_uuid, prefix)
);
