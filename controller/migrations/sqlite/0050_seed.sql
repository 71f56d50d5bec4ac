-- What guests are told of themselves before anybody can log in: user data, and whose keys are let in.
CREATE TABLE vm_user_data (
    vm_instance_uuid TEXT PRIMARY KEY REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    -- In base64.
    user_data TEXT NOT NULL
);
CREATE TABLE vm_ssh_key_pair (
    vm_instance_uuid TEXT NOT NULL REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    ssh_key_pair_uuid TEXT NOT NULL REFERENCES ssh_key_pair (uuid) ON DELETE CASCADE,
    PRIMARY KEY (vm_instance_uuid, ssh_key_pair_uuid)
);
CREATE INDEX vm_ssh_key_pair_key ON vm_ssh_key_pair (ssh_key_pair_uuid);
