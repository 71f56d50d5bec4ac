-- The engine's own rooms.
CREATE TABLE sequence (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO sequence (name, value) VALUES ('epoch', 0), ('vm', 0);

-- What controllers know each other by.
CREATE TABLE secret (name TEXT PRIMARY KEY, value TEXT NOT NULL);

-- The controllers that live. A row that is gone never comes back: who is late joins under a new uuid.
CREATE TABLE node (
    uuid TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    home TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    join_date BIGINT NOT NULL
);
CREATE INDEX node_home ON node (home);

CREATE TABLE flow (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    title TEXT NOT NULL,
    resource TEXT NOT NULL,
    generation BIGINT NOT NULL,
    owner TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    direction TEXT NOT NULL CHECK (direction IN ('forward', 'undo')),
    step BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'parked', 'done', 'undone', 'abandoned')),
    body TEXT NOT NULL,
    -- The acts that have ended, for people.
    log TEXT NOT NULL DEFAULT '[]',
    -- What an operator wants of it.
    wish TEXT CHECK (wish IN ('cancel', 'retry', 'abandon')),
    error TEXT,
    answer TEXT,
    job TEXT,
    attempts BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX flow_unfinished ON flow (epoch) WHERE state IN ('running', 'parked');
CREATE INDEX flow_ended ON flow (last_op_date) WHERE state IN ('done', 'undone', 'abandoned');

-- Which live flow owns a resource, and how many have owned it.
CREATE TABLE ownership (
    resource TEXT PRIMARY KEY,
    generation BIGINT NOT NULL,
    flow TEXT
);

CREATE TABLE job (
    uuid TEXT PRIMARY KEY,
    api TEXT NOT NULL,
    account TEXT NOT NULL,
    params TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done')),
    -- Who works on it until a flow does.
    owner TEXT NOT NULL,
    success BOOLEAN,
    result TEXT,
    flow TEXT,
    web_hook TEXT,
    hooked BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    end_date BIGINT
);
CREATE INDEX job_open ON job (create_date) WHERE state <> 'done';
CREATE INDEX job_unhooked ON job (uuid) WHERE NOT hooked;
CREATE INDEX job_ended ON job (end_date);

CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    resource TEXT NOT NULL,
    payload TEXT NOT NULL,
    create_date BIGINT NOT NULL
);
CREATE INDEX event_age ON event (create_date);

CREATE TABLE setting (
    category TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (category, name)
);

-- Ground.
CREATE TABLE account (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT,
    type TEXT NOT NULL,
    password TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
-- The token is the SHA-256 of what the client presents.
CREATE TABLE session (
    token TEXT PRIMARY KEY,
    account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    expired_date BIGINT NOT NULL,
    create_date BIGINT NOT NULL
);
CREATE INDEX session_expiry ON session (expired_date);

CREATE TABLE zone (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    type TEXT NOT NULL,
    is_default BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);

CREATE TABLE instance_offering (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    cpu_num BIGINT NOT NULL CHECK (cpu_num > 0),
    cpu_speed BIGINT NOT NULL,
    memory_size BIGINT NOT NULL CHECK (memory_size > 0),
    reserved_memory_size BIGINT NOT NULL,
    type TEXT NOT NULL,
    allocator_strategy TEXT NOT NULL,
    sort_key BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);

-- Where things are.
CREATE TABLE cluster (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    hypervisor_type TEXT NOT NULL,
    zone_uuid TEXT NOT NULL REFERENCES zone (uuid),
    type TEXT NOT NULL,
    architecture TEXT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX cluster_zone ON cluster (zone_uuid);

CREATE TABLE host (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    zone_uuid TEXT NOT NULL REFERENCES zone (uuid),
    cluster_uuid TEXT NOT NULL REFERENCES cluster (uuid),
    management_ip TEXT NOT NULL UNIQUE,
    hypervisor_type TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled', 'PreMaintenance', 'Maintenance')),
    status TEXT NOT NULL CHECK (status IN ('Connecting', 'Connected', 'Disconnected')),
    username TEXT NOT NULL,
    ssh_port BIGINT NOT NULL,
    cpu_num BIGINT NOT NULL,
    cpu_sockets BIGINT NOT NULL,
    cpu_speed BIGINT NOT NULL,
    total_cpu BIGINT NOT NULL,
    total_memory BIGINT NOT NULL,
    architecture TEXT,
    os_distribution TEXT,
    os_release TEXT,
    os_version TEXT,
    virt_type TEXT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX host_cluster ON host (cluster_uuid);

-- Storage.
CREATE TABLE primary_storage (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    zone_uuid TEXT NOT NULL REFERENCES zone (uuid),
    url TEXT NOT NULL,
    mount_path TEXT NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled', 'Maintenance', 'Deleting')),
    status TEXT NOT NULL CHECK (status IN ('Connecting', 'Connected', 'Disconnected')),
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX primary_storage_zone ON primary_storage (zone_uuid);
CREATE TABLE primary_storage_cluster (
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid) ON DELETE CASCADE,
    cluster_uuid TEXT NOT NULL REFERENCES cluster (uuid) ON DELETE CASCADE,
    PRIMARY KEY (primary_storage_uuid, cluster_uuid)
);
-- What a primary storage has on one host.
CREATE TABLE primary_storage_host (
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid) ON DELETE CASCADE,
    host_uuid TEXT NOT NULL REFERENCES host (uuid) ON DELETE CASCADE,
    status TEXT NOT NULL,
    total_capacity BIGINT NOT NULL,
    available_physical BIGINT NOT NULL,
    PRIMARY KEY (primary_storage_uuid, host_uuid)
);

CREATE TABLE backup_storage (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    url TEXT NOT NULL,
    hostname TEXT NOT NULL UNIQUE,
    username TEXT NOT NULL,
    ssh_port BIGINT NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    status TEXT NOT NULL CHECK (status IN ('Connecting', 'Connected', 'Disconnected')),
    total_capacity BIGINT NOT NULL,
    available_capacity BIGINT NOT NULL,
    -- It is being deleted: nothing is fetched from it or brought to it any more.
    leaving BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TABLE backup_storage_zone (
    backup_storage_uuid TEXT NOT NULL REFERENCES backup_storage (uuid) ON DELETE CASCADE,
    zone_uuid TEXT NOT NULL REFERENCES zone (uuid) ON DELETE CASCADE,
    PRIMARY KEY (backup_storage_uuid, zone_uuid)
);

CREATE TABLE image (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    status TEXT NOT NULL CHECK (status IN ('Creating', 'Downloading', 'Ready', 'Error', 'Deleted')),
    size BIGINT NOT NULL,
    actual_size BIGINT NOT NULL,
    md5_sum TEXT,
    sha256 TEXT,
    url TEXT NOT NULL,
    media_type TEXT NOT NULL,
    guest_os_type TEXT,
    type TEXT NOT NULL,
    platform TEXT NOT NULL,
    architecture TEXT,
    -- Unknown until the image has been inspected, unless it was named.
    format TEXT,
    system BOOLEAN NOT NULL,
    virtio BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
-- A copy of an image on one backup storage.
CREATE TABLE image_backup_storage (
    uuid TEXT PRIMARY KEY,
    image_uuid TEXT NOT NULL REFERENCES image (uuid) ON DELETE CASCADE,
    backup_storage_uuid TEXT NOT NULL REFERENCES backup_storage (uuid),
    install_path TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('Downloading', 'Ready', 'Deleted')),
    -- Its bits are being deleted: nobody starts to fetch them any more.
    leaving BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (image_uuid, backup_storage_uuid)
);
CREATE INDEX image_backup_storage_place ON image_backup_storage (backup_storage_uuid);
CREATE INDEX image_backup_storage_trash ON image_backup_storage (last_op_date) WHERE status = 'Deleted';
-- Copies of images on primary storage, from which root volumes are cloned.
CREATE TABLE image_cache (
    image_uuid TEXT NOT NULL,
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid) ON DELETE CASCADE,
    host_uuid TEXT NOT NULL REFERENCES host (uuid) ON DELETE CASCADE,
    install_path TEXT NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (image_uuid, primary_storage_uuid, host_uuid)
);

-- Networks.
CREATE TABLE l2_network (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    zone_uuid TEXT NOT NULL REFERENCES zone (uuid),
    physical_interface TEXT NOT NULL,
    type TEXT NOT NULL,
    v_switch_type TEXT NOT NULL,
    virtual_network_id BIGINT NOT NULL,
    isolated BOOLEAN NOT NULL,
    pvlan TEXT,
    -- Nothing new may come to use it.
    deleting BOOLEAN NOT NULL DEFAULT FALSE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX l2_network_zone ON l2_network (zone_uuid);
CREATE TABLE l2_network_cluster (
    l2_network_uuid TEXT NOT NULL REFERENCES l2_network (uuid) ON DELETE CASCADE,
    cluster_uuid TEXT NOT NULL REFERENCES cluster (uuid) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('Attaching', 'Attached', 'Detaching')),
    PRIMARY KEY (l2_network_uuid, cluster_uuid)
);
CREATE INDEX l2_network_cluster_cluster ON l2_network_cluster (cluster_uuid);

CREATE TABLE l3_network (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    type TEXT NOT NULL,
    zone_uuid TEXT NOT NULL REFERENCES zone (uuid),
    l2_network_uuid TEXT NOT NULL REFERENCES l2_network (uuid),
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    dns_domain TEXT,
    system BOOLEAN NOT NULL,
    category TEXT NOT NULL,
    ip_version BIGINT NOT NULL,
    enable_ipam BOOLEAN NOT NULL,
    isolated BOOLEAN NOT NULL,
    -- Nothing new may come to use it.
    deleting BOOLEAN NOT NULL DEFAULT FALSE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX l3_network_l2 ON l3_network (l2_network_uuid);
CREATE TABLE l3_network_dns (
    l3_network_uuid TEXT NOT NULL REFERENCES l3_network (uuid) ON DELETE CASCADE,
    dns TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    PRIMARY KEY (l3_network_uuid, dns)
);
CREATE TABLE network_service_provider (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    type TEXT NOT NULL UNIQUE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
INSERT INTO network_service_provider (uuid, name, description, type, create_date, last_op_date) VALUES
    ('f1a7000000004000800000000000f1a7', 'Flat Network Service Provider',
        'DHCP and DNS of a network on each host that runs its VMs', 'Flat', 1792000000000000, 1792000000000000);
CREATE TABLE l3_network_service (
    l3_network_uuid TEXT NOT NULL REFERENCES l3_network (uuid) ON DELETE CASCADE,
    network_service_provider_uuid TEXT NOT NULL REFERENCES network_service_provider (uuid),
    network_service_type TEXT NOT NULL,
    PRIMARY KEY (l3_network_uuid, network_service_type)
);
CREATE TABLE ip_range (
    uuid TEXT PRIMARY KEY,
    l3_network_uuid TEXT NOT NULL REFERENCES l3_network (uuid),
    name TEXT NOT NULL,
    description TEXT,
    start_ip TEXT NOT NULL,
    end_ip TEXT NOT NULL,
    start_long BIGINT NOT NULL,
    end_long BIGINT NOT NULL,
    netmask TEXT NOT NULL,
    gateway TEXT NOT NULL,
    network_cidr TEXT NOT NULL,
    ip_version BIGINT NOT NULL,
    prefix_len BIGINT NOT NULL,
    ip_range_type TEXT NOT NULL,
    -- No address of it is given out any more.
    deleting BOOLEAN NOT NULL DEFAULT FALSE,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX ip_range_l3 ON ip_range (l3_network_uuid);

-- Virtual machines.
CREATE TABLE vm_instance (
    uuid TEXT PRIMARY KEY,
    internal_id BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT,
    zone_uuid TEXT REFERENCES zone (uuid),
    cluster_uuid TEXT REFERENCES cluster (uuid),
    host_uuid TEXT REFERENCES host (uuid),
    last_host_uuid TEXT,
    image_uuid TEXT,
    instance_offering_uuid TEXT REFERENCES instance_offering (uuid) ON DELETE SET NULL,
    root_volume_uuid TEXT,
    default_l3_network_uuid TEXT,
    platform TEXT NOT NULL,
    architecture TEXT,
    guest_os_type TEXT,
    type TEXT NOT NULL,
    hypervisor_type TEXT NOT NULL,
    cpu_num BIGINT NOT NULL,
    cpu_speed BIGINT NOT NULL,
    memory_size BIGINT NOT NULL,
    reserved_memory_size BIGINT NOT NULL,
    allocator_strategy TEXT NOT NULL,
    virtio BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    -- What it was before the flow that works on it began.
    state_before TEXT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX vm_instance_host ON vm_instance (host_uuid);
CREATE INDEX vm_instance_last_host ON vm_instance (last_host_uuid);
CREATE INDEX vm_instance_zone ON vm_instance (zone_uuid);
-- What a VM takes of its host while it may run there. Capacity is what these leave.
CREATE TABLE host_claim (
    vm_instance_uuid TEXT PRIMARY KEY REFERENCES vm_instance (uuid),
    host_uuid TEXT NOT NULL REFERENCES host (uuid),
    cpu BIGINT NOT NULL,
    memory BIGINT NOT NULL
);
CREATE INDEX host_claim_host ON host_claim (host_uuid);

CREATE TABLE volume (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    primary_storage_uuid TEXT REFERENCES primary_storage (uuid),
    host_uuid TEXT REFERENCES host (uuid),
    vm_instance_uuid TEXT REFERENCES vm_instance (uuid),
    disk_offering_uuid TEXT,
    root_image_uuid TEXT,
    install_path TEXT,
    type TEXT NOT NULL CHECK (type IN ('Root', 'Data', 'Memory', 'Cache')),
    format TEXT NOT NULL,
    size BIGINT NOT NULL,
    actual_size BIGINT,
    device_id BIGINT,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    status TEXT NOT NULL CHECK (status IN ('Creating', 'Ready', 'NotInstantiated', 'Deleted', 'Migrating')),
    is_shareable BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX volume_vm ON volume (vm_instance_uuid);
CREATE INDEX volume_primary_storage ON volume (primary_storage_uuid, host_uuid);

CREATE TABLE vm_nic (
    uuid TEXT PRIMARY KEY,
    vm_instance_uuid TEXT NOT NULL REFERENCES vm_instance (uuid),
    l3_network_uuid TEXT NOT NULL REFERENCES l3_network (uuid),
    ip TEXT,
    mac TEXT NOT NULL UNIQUE,
    hypervisor_type TEXT NOT NULL,
    netmask TEXT,
    gateway TEXT,
    ip_version BIGINT NOT NULL,
    driver_type TEXT NOT NULL,
    internal_name TEXT NOT NULL,
    device_id BIGINT NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX vm_nic_vm ON vm_nic (vm_instance_uuid);
CREATE INDEX vm_nic_l3 ON vm_nic (l3_network_uuid);

-- The truth about addresses: one row per address in use.
CREATE TABLE used_ip (
    uuid TEXT PRIMARY KEY,
    ip_range_uuid TEXT NOT NULL REFERENCES ip_range (uuid),
    l3_network_uuid TEXT NOT NULL REFERENCES l3_network (uuid),
    ip_version BIGINT NOT NULL,
    ip TEXT NOT NULL,
    ip_in_long BIGINT NOT NULL,
    netmask TEXT NOT NULL,
    gateway TEXT NOT NULL,
    used_for TEXT,
    vm_nic_uuid TEXT REFERENCES vm_nic (uuid),
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (l3_network_uuid, ip)
);
CREATE INDEX used_ip_range ON used_ip (ip_range_uuid, ip_in_long);
CREATE INDEX used_ip_nic ON used_ip (vm_nic_uuid);
CREATE UNIQUE INDEX used_ip_dhcp ON used_ip (l3_network_uuid) WHERE used_for = 'DHCP';

-- A network's servers on a host; made at first use, taken away with the network or the host.
CREATE TABLE l3_network_host (
    l3_network_uuid TEXT NOT NULL REFERENCES l3_network (uuid) ON DELETE CASCADE,
    host_uuid TEXT NOT NULL REFERENCES host (uuid) ON DELETE CASCADE,
    PRIMARY KEY (l3_network_uuid, host_uuid)
);
CREATE INDEX l3_network_host_host ON l3_network_host (host_uuid);

-- What lists show: rows with what is derived from claims.
CREATE VIEW host_view AS
SELECT h.*,
    h.total_cpu AS total_cpu_capacity,
    h.total_memory AS total_memory_capacity,
    h.total_cpu - (SELECT CAST(coalesce(sum(c.cpu), 0) AS BIGINT) FROM host_claim c WHERE c.host_uuid = h.uuid)
        AS available_cpu_capacity,
    h.total_memory - (SELECT CAST(coalesce(sum(c.memory), 0) AS BIGINT) FROM host_claim c WHERE c.host_uuid = h.uuid)
        AS available_memory_capacity
FROM host h;

CREATE VIEW primary_storage_view AS
SELECT p.*,
    (SELECT CAST(coalesce(sum(h.total_capacity), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid) AS total_capacity,
    (SELECT CAST(coalesce(sum(h.total_capacity), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid)
        - (SELECT CAST(coalesce(sum(v.size), 0) AS BIGINT) FROM volume v WHERE v.primary_storage_uuid = p.uuid)
        - (SELECT CAST(coalesce(sum(i.size), 0) AS BIGINT) FROM image_cache i WHERE i.primary_storage_uuid = p.uuid)
        AS available_capacity,
    (SELECT CAST(coalesce(sum(h.total_capacity), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid) AS total_physical_capacity,
    (SELECT CAST(coalesce(sum(h.available_physical), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid) AS available_physical_capacity
FROM primary_storage p;
