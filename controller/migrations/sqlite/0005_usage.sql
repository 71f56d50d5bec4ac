-- What claims take of hosts and storages, added up by the database itself whenever a claim comes, changes or
-- goes: no code writes these tables, and capacity costs the same whether ten VMs claim it or a million.
CREATE TABLE host_usage (
    host_uuid TEXT PRIMARY KEY REFERENCES host (uuid) ON DELETE CASCADE,
    cpu BIGINT NOT NULL,
    memory BIGINT NOT NULL,
    vms BIGINT NOT NULL
);
INSERT INTO host_usage (host_uuid, cpu, memory, vms)
    SELECT host_uuid, sum(cpu), sum(memory), count(*) FROM host_claim GROUP BY host_uuid;

-- Volumes and cached images of one storage on one host; '' where a volume lies on no host of its own.
CREATE TABLE primary_storage_usage (
    primary_storage_uuid TEXT NOT NULL REFERENCES primary_storage (uuid) ON DELETE CASCADE,
    host_uuid TEXT NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (primary_storage_uuid, host_uuid)
);
INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
    SELECT primary_storage_uuid, host_uuid, sum(size) FROM (
        SELECT primary_storage_uuid, coalesce(host_uuid, '') AS host_uuid, size FROM volume
            WHERE primary_storage_uuid IS NOT NULL
        UNION ALL SELECT primary_storage_uuid, host_uuid, size FROM image_cache) claims
    GROUP BY primary_storage_uuid, host_uuid;

CREATE TRIGGER host_claim_comes AFTER INSERT ON host_claim BEGIN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT NEW.host_uuid, NEW.cpu, NEW.memory, 1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = NEW.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
END;
CREATE TRIGGER host_claim_changes AFTER UPDATE OF host_uuid, cpu, memory ON host_claim BEGIN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT OLD.host_uuid, -OLD.cpu, -OLD.memory, -1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = OLD.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT NEW.host_uuid, NEW.cpu, NEW.memory, 1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = NEW.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
END;
CREATE TRIGGER host_claim_goes AFTER DELETE ON host_claim BEGIN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms)
        SELECT OLD.host_uuid, -OLD.cpu, -OLD.memory, -1
            WHERE EXISTS (SELECT 1 FROM host WHERE uuid = OLD.host_uuid)
        ON CONFLICT (host_uuid) DO UPDATE SET cpu = host_usage.cpu + excluded.cpu,
            memory = host_usage.memory + excluded.memory, vms = host_usage.vms + excluded.vms;
END;
CREATE TRIGGER volume_comes AFTER INSERT ON volume BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER volume_changes AFTER UPDATE OF primary_storage_uuid, host_uuid, size ON volume BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER volume_goes AFTER DELETE ON volume BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER image_cache_comes AFTER INSERT ON image_cache BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER image_cache_changes AFTER UPDATE OF primary_storage_uuid, host_uuid, size ON image_cache BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT NEW.primary_storage_uuid, coalesce(NEW.host_uuid, ''), NEW.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = NEW.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;
CREATE TRIGGER image_cache_goes AFTER DELETE ON image_cache BEGIN
    INSERT INTO primary_storage_usage (primary_storage_uuid, host_uuid, size)
        SELECT OLD.primary_storage_uuid, coalesce(OLD.host_uuid, ''), -OLD.size
            WHERE EXISTS (SELECT 1 FROM primary_storage WHERE uuid = OLD.primary_storage_uuid)
        ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE
            SET size = primary_storage_usage.size + excluded.size;
END;

DROP VIEW host_view;
CREATE VIEW host_view AS
SELECT h.*,
    h.total_cpu AS total_cpu_capacity,
    h.total_memory AS total_memory_capacity,
    h.total_cpu - coalesce(u.cpu, 0) AS available_cpu_capacity,
    h.total_memory - coalesce(u.memory, 0) AS available_memory_capacity
FROM host h LEFT JOIN host_usage u ON u.host_uuid = h.uuid;

DROP VIEW primary_storage_view;
CREATE VIEW primary_storage_view AS
SELECT p.*,
    (SELECT CAST(coalesce(sum(h.total_capacity), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid) AS total_capacity,
    (SELECT CAST(coalesce(sum(h.total_capacity), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid)
        - (SELECT CAST(coalesce(sum(u.size), 0) AS BIGINT) FROM primary_storage_usage u
            WHERE u.primary_storage_uuid = p.uuid) AS available_capacity,
    (SELECT CAST(coalesce(sum(h.total_capacity), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid) AS total_physical_capacity,
    (SELECT CAST(coalesce(sum(h.available_physical), 0) AS BIGINT) FROM primary_storage_host h
        WHERE h.primary_storage_uuid = p.uuid) AS available_physical_capacity
FROM primary_storage p;
