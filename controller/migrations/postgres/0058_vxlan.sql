-- VXLANs: pools of their numbers, the networks that have one, and where their tunnels end.
CREATE TABLE vni_range (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    start_vni BIGINT NOT NULL,
    end_vni BIGINT NOT NULL CHECK (start_vni <= end_vni),
    l2_network_uuid TEXT COLLATE "C" NOT NULL REFERENCES l2_network (uuid) ON DELETE CASCADE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX vni_range_l2_network ON vni_range (l2_network_uuid);
CREATE TABLE vxlan_network (
    uuid TEXT COLLATE "C" PRIMARY KEY REFERENCES l2_network (uuid) ON DELETE CASCADE,
    pool_uuid TEXT COLLATE "C" NOT NULL REFERENCES l2_network (uuid) ON DELETE CASCADE,
    vni BIGINT NOT NULL,
    UNIQUE (pool_uuid, vni)
);
CREATE TABLE vtep (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    host_uuid TEXT COLLATE "C" NOT NULL REFERENCES host (uuid) ON DELETE CASCADE,
    pool_uuid TEXT COLLATE "C" NOT NULL REFERENCES l2_network (uuid) ON DELETE CASCADE,
    vtep_ip TEXT COLLATE "C" NOT NULL,
    port BIGINT NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    physical_interface TEXT COLLATE "C" NOT NULL,
    -- The others are being told, or are about to be told, that it goes.
    leaving BOOLEAN NOT NULL DEFAULT FALSE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (pool_uuid, host_uuid)
);
CREATE INDEX vtep_host ON vtep (host_uuid);
-- The IP network that a pool's tunnels of this cluster go through.
ALTER TABLE l2_network_cluster ADD COLUMN cidr TEXT COLLATE "C";
CREATE VIEW l2_vxlan_network AS
    SELECT l.*, x.vni, x.pool_uuid FROM l2_network l JOIN vxlan_network x ON x.uuid = l.uuid;
CREATE VIEW l2_vxlan_network_pool AS SELECT * FROM l2_network WHERE type = 'VxlanNetworkPool';
