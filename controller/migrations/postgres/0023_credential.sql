-- Public keys that people log in to their guests with, and certificates of what they serve.
CREATE TABLE ssh_key_pair (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    public_key TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TRIGGER ssh_key_pair_owned AFTER INSERT ON ssh_key_pair FOR EACH ROW EXECUTE FUNCTION resource_owned('SshKeyPairVO');
CREATE TRIGGER ssh_key_pair_disowned AFTER DELETE ON ssh_key_pair FOR EACH ROW EXECUTE FUNCTION resource_disowned();
CREATE TABLE certificate (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    -- PEM, with the private key when one came.
    certificate TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TRIGGER certificate_owned AFTER INSERT ON certificate FOR EACH ROW EXECUTE FUNCTION resource_owned('CertificateVO');
CREATE TRIGGER certificate_disowned AFTER DELETE ON certificate FOR EACH ROW EXECUTE FUNCTION resource_disowned();
