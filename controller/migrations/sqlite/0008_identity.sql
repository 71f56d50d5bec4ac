-- Who may what: accounts own resources and share them; users of an account may what policies allow.
ALTER TABLE account ADD COLUMN state TEXT NOT NULL DEFAULT 'Enabled' CHECK (state IN ('Enabled', 'Deleting'));

-- A user belongs to one account, which owns what the user makes.
CREATE TABLE account_user (
    uuid TEXT PRIMARY KEY,
    account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    password TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (account_uuid, name)
);
CREATE TABLE user_group (
    uuid TEXT PRIMARY KEY,
    account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX user_group_account ON user_group (account_uuid);
CREATE TABLE user_group_user (
    group_uuid TEXT NOT NULL REFERENCES user_group (uuid) ON DELETE CASCADE,
    user_uuid TEXT NOT NULL REFERENCES account_user (uuid) ON DELETE CASCADE,
    PRIMARY KEY (group_uuid, user_uuid)
);
CREATE INDEX user_group_user_user ON user_group_user (user_uuid);

-- Statements are JSON: [{"name", "effect": "Allow" | "Deny", "actions": ["instance:.*"]}]
CREATE TABLE policy (
    uuid TEXT PRIMARY KEY,
    account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    statements TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX policy_account ON policy (account_uuid);
-- The holder is a user, a group or a role; triggers take the row away with it.
CREATE TABLE policy_holder (
    policy_uuid TEXT NOT NULL REFERENCES policy (uuid) ON DELETE CASCADE,
    holder_uuid TEXT NOT NULL,
    PRIMARY KEY (policy_uuid, holder_uuid)
);
CREATE INDEX policy_holder_holder ON policy_holder (holder_uuid);

CREATE TABLE role (
    uuid TEXT PRIMARY KEY,
    account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    identity TEXT,
    type TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TABLE role_statement (
    uuid TEXT PRIMARY KEY,
    role_uuid TEXT NOT NULL REFERENCES role (uuid) ON DELETE CASCADE,
    statement TEXT NOT NULL,
    create_date BIGINT NOT NULL
);
CREATE INDEX role_statement_role ON role_statement (role_uuid);
CREATE TABLE account_role (
    role_uuid TEXT NOT NULL REFERENCES role (uuid) ON DELETE CASCADE,
    account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    PRIMARY KEY (role_uuid, account_uuid)
);
CREATE INDEX account_role_account ON account_role (account_uuid);

ALTER TABLE session ADD COLUMN user_uuid TEXT REFERENCES account_user (uuid) ON DELETE CASCADE;
CREATE INDEX session_account ON session (account_uuid);

-- The subject is an address, a name, or both; what counts are attempts that have not succeeded.
CREATE TABLE login_attempt (
    subject TEXT PRIMARY KEY,
    attempts BIGINT NOT NULL,
    locked_until BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX login_attempt_age ON login_attempt (last_op_date);

-- The secret is kept as it is, for a signature can be checked with nothing less.
CREATE TABLE access_key (
    uuid TEXT PRIMARY KEY,
    account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    user_uuid TEXT REFERENCES account_user (uuid) ON DELETE CASCADE,
    description TEXT,
    access_key_id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled')),
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX access_key_account ON access_key (account_uuid);

CREATE TABLE quota (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    identity_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    identity_type TEXT NOT NULL,
    value BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL,
    UNIQUE (identity_uuid, name)
);

-- Who owns what. No code enters these rows: they come and go with the resources, by the triggers below. What
-- belongs to something else (a NIC to its VM) has that as its master, and goes with it to another owner.
CREATE TABLE account_resource_ref (
    resource_uuid TEXT PRIMARY KEY,
    account_uuid TEXT NOT NULL REFERENCES account (uuid),
    resource_type TEXT NOT NULL,
    master_uuid TEXT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX account_resource_ref_account ON account_resource_ref (account_uuid, resource_type);
CREATE INDEX account_resource_ref_master ON account_resource_ref (master_uuid) WHERE master_uuid IS NOT NULL;

-- Shared with one account, or with everybody.
CREATE TABLE shared_resource (
    uuid TEXT PRIMARY KEY,
    resource_uuid TEXT NOT NULL REFERENCES account_resource_ref (resource_uuid) ON DELETE CASCADE,
    resource_type TEXT NOT NULL,
    owner_account_uuid TEXT NOT NULL REFERENCES account (uuid) ON DELETE CASCADE,
    receiver_account_uuid TEXT REFERENCES account (uuid) ON DELETE CASCADE,
    to_public BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX shared_resource_receiver ON shared_resource (receiver_account_uuid);
CREATE INDEX shared_resource_resource ON shared_resource (resource_uuid);
CREATE INDEX shared_resource_public ON shared_resource (resource_uuid) WHERE to_public;

-- A job is the record of its call too: who asked for what, from where, and what it was about.
ALTER TABLE job ADD COLUMN user_uuid TEXT;
ALTER TABLE job ADD COLUMN session TEXT;
ALTER TABLE job ADD COLUMN address TEXT;
-- What it makes, or works on.
ALTER TABLE job ADD COLUMN resource TEXT;
CREATE INDEX job_resource ON job (resource) WHERE state <> 'done';
CREATE INDEX job_account ON job (account, create_date);
CREATE INDEX job_told ON job (end_date) WHERE result IS NOT NULL AND success;
CREATE VIEW audit AS SELECT uuid, api AS api_name, resource AS resource_uuid, account AS account_uuid, user_uuid,
    session AS session_token, address AS client_ip, params AS request, state, success,
    CASE WHEN success THEN NULL ELSE result END AS error, create_date, end_date FROM job;

-- What was there before accounts came is the administrator's.
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'VmInstanceVO', NULL, create_date, last_op_date FROM vm_instance
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'VolumeVO', vm_instance_uuid, create_date, last_op_date FROM volume
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'VmNicVO', vm_instance_uuid, create_date, last_op_date FROM vm_nic
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'ImageVO', NULL, create_date, last_op_date FROM image
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'InstanceOfferingVO', NULL, create_date, last_op_date FROM instance_offering
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'L2NetworkVO', NULL, create_date, last_op_date FROM l2_network
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'L3NetworkVO', NULL, create_date, last_op_date FROM l3_network
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');
INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
    SELECT uuid, '36c27e8ff05c4780bf6d2fa65700f22e', 'IpRangeVO', l3_network_uuid, create_date, last_op_date FROM ip_range
    WHERE EXISTS (SELECT 1 FROM account WHERE uuid = '36c27e8ff05c4780bf6d2fa65700f22e');

-- The owner of a new row is its master's, or else the account whose job makes it, or else the administrator.
CREATE TRIGGER vm_instance_owned AFTER INSERT ON vm_instance BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'VmInstanceVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER vm_instance_disowned AFTER DELETE ON vm_instance BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER volume_owned AFTER INSERT ON volume BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'VolumeVO', NEW.vm_instance_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.vm_instance_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER volume_disowned AFTER DELETE ON volume BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER vm_nic_owned AFTER INSERT ON vm_nic BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'VmNicVO', NEW.vm_instance_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.vm_instance_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER vm_nic_disowned AFTER DELETE ON vm_nic BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER image_owned AFTER INSERT ON image BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'ImageVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER image_disowned AFTER DELETE ON image BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER instance_offering_owned AFTER INSERT ON instance_offering BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'InstanceOfferingVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER instance_offering_disowned AFTER DELETE ON instance_offering BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER l2_network_owned AFTER INSERT ON l2_network BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'L2NetworkVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER l2_network_disowned AFTER DELETE ON l2_network BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER l3_network_owned AFTER INSERT ON l3_network BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'L3NetworkVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER l3_network_disowned AFTER DELETE ON l3_network BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER ip_range_owned AFTER INSERT ON ip_range BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'IpRangeVO', NEW.l3_network_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.l3_network_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER ip_range_disowned AFTER DELETE ON ip_range BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER account_user_holds_nothing AFTER DELETE ON account_user BEGIN
    DELETE FROM policy_holder WHERE holder_uuid = OLD.uuid;
END;
CREATE TRIGGER user_group_holds_nothing AFTER DELETE ON user_group BEGIN
    DELETE FROM policy_holder WHERE holder_uuid = OLD.uuid;
END;
CREATE TRIGGER role_holds_nothing AFTER DELETE ON role BEGIN
    DELETE FROM policy_holder WHERE holder_uuid = OLD.uuid;
END;
