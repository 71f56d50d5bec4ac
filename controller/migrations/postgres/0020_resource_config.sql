-- Settings for some resources only; they go with them.
CREATE TABLE resource_config (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    resource_uuid TEXT COLLATE "C" NOT NULL,
    resource_type TEXT COLLATE "C" NOT NULL,
    category TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (resource_uuid, category, name)
);
CREATE FUNCTION settings_go() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM resource_config WHERE resource_uuid = OLD.uuid;
    RETURN NULL;
END $$;
CREATE TRIGGER zone_is_set AFTER DELETE ON zone FOR EACH ROW EXECUTE FUNCTION settings_go();
CREATE TRIGGER cluster_is_set AFTER DELETE ON cluster FOR EACH ROW EXECUTE FUNCTION settings_go();
CREATE TRIGGER host_is_set AFTER DELETE ON host FOR EACH ROW EXECUTE FUNCTION settings_go();
CREATE TRIGGER primary_storage_is_set AFTER DELETE ON primary_storage FOR EACH ROW EXECUTE FUNCTION settings_go();

-- Who has changed which setting, from what, to what. Nothing: it was the default's, or the larger thing's.
CREATE TABLE setting_change (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    category TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    resource_uuid TEXT COLLATE "C",
    old_value TEXT COLLATE "C",
    new_value TEXT COLLATE "C",
    account_uuid TEXT COLLATE "C" NOT NULL,
    user_uuid TEXT COLLATE "C",
    create_date BIGINT NOT NULL
);
CREATE INDEX setting_change_date ON setting_change (create_date, uuid);

-- What the nearest settings allow a host to lend; nothing where the whole cloud's hold.
DROP VIEW host_view;
ALTER TABLE host DROP COLUMN total_cpu;
ALTER TABLE host ADD COLUMN cpu_ratio BIGINT;
ALTER TABLE host ADD COLUMN memory_percent BIGINT;
ALTER TABLE host ADD COLUMN reserved_memory BIGINT;

CREATE VIEW host_default AS SELECT
    coalesce((SELECT CAST(value AS BIGINT) FROM setting
        WHERE category = 'host' AND name = 'cpu.overProvisioning.ratio'), 10) AS cpu_ratio,
    coalesce((SELECT CAST(round(CAST(value AS NUMERIC) * 100) AS BIGINT) FROM setting
        WHERE category = 'mevoco' AND name = 'overProvisioning.memory'), 100) AS memory_percent,
    coalesce((SELECT CAST(value AS BIGINT) FROM setting
        WHERE category = 'kvm' AND name = 'reservedMemory'), 1073741824) AS reserved_memory;

-- What is left of a host, and what VMs may still claim of it.
CREATE VIEW host_view AS
SELECT h.*,
    h.cpu_num * coalesce(h.cpu_ratio, d.cpu_ratio) AS total_cpu_capacity,
    h.total_memory AS total_memory_capacity,
    h.cpu_num * coalesce(h.cpu_ratio, d.cpu_ratio) - coalesce(u.cpu, 0) AS available_cpu_capacity,
    h.total_memory - coalesce(u.memory, 0) * 100 / coalesce(h.memory_percent, d.memory_percent)
        AS available_memory_capacity,
    h.cpu_num * coalesce(h.cpu_ratio, d.cpu_ratio) - coalesce(u.cpu, 0) AS cpu_room,
    (h.total_memory - coalesce(h.reserved_memory, d.reserved_memory))
        * coalesce(h.memory_percent, d.memory_percent) / 100 - coalesce(u.memory, 0) AS memory_room
FROM host h CROSS JOIN host_default d LEFT JOIN host_usage u ON u.host_uuid = h.uuid;
