-- Addresses that are given to nobody.
CREATE TABLE reserved_ip_range (
    uuid TEXT PRIMARY KEY,
    l3_network_uuid TEXT NOT NULL REFERENCES l3_network (uuid) ON DELETE CASCADE,
    start_ip TEXT NOT NULL,
    end_ip TEXT NOT NULL,
    start_long BIGINT NOT NULL,
    end_long BIGINT NOT NULL,
    ip_version BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX reserved_ip_range_l3 ON reserved_ip_range (l3_network_uuid, start_long);
CREATE TRIGGER reserved_ip_range_owned AFTER INSERT ON reserved_ip_range BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'ReservedIpRangeVO', NEW.l3_network_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.l3_network_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER reserved_ip_range_disowned AFTER DELETE ON reserved_ip_range BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
