-- Public keys that people log in to their guests with, and certificates of what they serve.
CREATE TABLE ssh_key_pair (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    public_key TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TRIGGER ssh_key_pair_owned AFTER INSERT ON ssh_key_pair BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'SshKeyPairVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER ssh_key_pair_disowned AFTER DELETE ON ssh_key_pair BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TABLE certificate (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    -- PEM, with the private key when one came.
    certificate TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TRIGGER certificate_owned AFTER INSERT ON certificate BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'CertificateVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER certificate_disowned AFTER DELETE ON certificate BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
