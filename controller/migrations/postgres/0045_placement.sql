-- Groups of VMs that shall be on one host, or on different ones.
CREATE TABLE affinity_group (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    policy TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    appliance TEXT COLLATE "C" NOT NULL,
    zone_uuid TEXT COLLATE "C" REFERENCES zone (uuid),
    state TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX affinity_group_zone ON affinity_group (zone_uuid);
CREATE TABLE affinity_group_usage (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    affinity_group_uuid TEXT COLLATE "C" NOT NULL REFERENCES affinity_group (uuid) ON DELETE CASCADE,
    resource_uuid TEXT COLLATE "C" NOT NULL REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    resource_type TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (affinity_group_uuid, resource_uuid)
);
CREATE INDEX affinity_group_usage_resource ON affinity_group_usage (resource_uuid);
CREATE TRIGGER affinity_group_owned AFTER INSERT ON affinity_group FOR EACH ROW EXECUTE FUNCTION resource_owned('AffinityGroupVO');
CREATE TRIGGER affinity_group_disowned AFTER DELETE ON affinity_group FOR EACH ROW EXECUTE FUNCTION resource_disowned();

-- A host as it is chosen: what it is, what VMs may still claim of it, and what it lies in. Its uuid is that of
-- host_usage, by which hosts are read in the order of their VMs without being sorted: SQLite reads the tables
-- in this order, and what comes behind another first table is sorted by it.
CREATE VIEW host_candidate AS
SELECT u.host_uuid AS uuid, h.name, h.description, h.zone_uuid, h.cluster_uuid, h.management_ip, h.machine_uuid, h.hypervisor_type,
    h.state, h.status, h.username, h.ssh_port, h.cpu_num, h.cpu_sockets, h.architecture, h.os_distribution,
    h.os_release, h.os_version, h.virt_type, h.create_date, h.last_op_date,
    h.cpu_num * coalesce(h.cpu_ratio, d.cpu_ratio) AS total_cpu_capacity,
    h.total_memory AS total_memory_capacity,
    h.cpu_num * coalesce(h.cpu_ratio, d.cpu_ratio) - u.cpu AS available_cpu_capacity,
    h.total_memory - u.memory * 100 / coalesce(h.memory_percent, d.memory_percent) AS available_memory_capacity,
    h.cpu_num * coalesce(h.cpu_ratio, d.cpu_ratio) - u.cpu AS cpu_room,
    (h.total_memory - coalesce(h.reserved_memory, d.reserved_memory))
        * coalesce(h.memory_percent, d.memory_percent) / 100 - u.memory AS memory_room,
    coalesce(h.reserved_memory, d.reserved_memory) AS reserved,
    u.vms, c.name AS cluster_name, c.state AS cluster_state, z.name AS zone_name, z.state AS zone_state
FROM host_usage u CROSS JOIN host h CROSS JOIN cluster c CROSS JOIN zone z CROSS JOIN host_default d
WHERE h.uuid = u.host_uuid AND c.uuid = h.cluster_uuid AND z.uuid = h.zone_uuid;
