-- Addresses that are given to nobody.
CREATE TABLE reserved_ip_range (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    l3_network_uuid TEXT COLLATE "C" NOT NULL REFERENCES l3_network (uuid) ON DELETE CASCADE,
    start_ip TEXT COLLATE "C" NOT NULL,
    end_ip TEXT COLLATE "C" NOT NULL,
    start_long BIGINT NOT NULL,
    end_long BIGINT NOT NULL,
    ip_version BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX reserved_ip_range_l3 ON reserved_ip_range (l3_network_uuid, start_long);
CREATE TRIGGER reserved_ip_range_owned AFTER INSERT ON reserved_ip_range FOR EACH ROW EXECUTE FUNCTION resource_owned('ReservedIpRangeVO', 'l3_network_uuid');
CREATE TRIGGER reserved_ip_range_disowned AFTER DELETE ON reserved_ip_range FOR EACH ROW EXECUTE FUNCTION resource_disowned();
