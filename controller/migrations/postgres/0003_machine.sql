-- Who certifies machines. Several are trusted while one takes over from another; one signs.
CREATE TABLE certificate_authority (
    fingerprint TEXT COLLATE "C" PRIMARY KEY,
    certificate TEXT COLLATE "C" NOT NULL,
    private_key TEXT COLLATE "C" NOT NULL,
    signs BOOLEAN NOT NULL,
    create_date BIGINT NOT NULL
);
CREATE UNIQUE INDEX certificate_authority_signs ON certificate_authority (signs) WHERE signs;

CREATE TABLE machine (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    -- Words with commas between: host,storage
    roles TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('Enrolled', 'Revoked')),
    -- When the last of its certificates ends.
    certified_until BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE UNIQUE INDEX machine_address ON machine (address) WHERE state = 'Enrolled';
CREATE INDEX machine_revoked ON machine (certified_until) WHERE state = 'Revoked';

CREATE TABLE enrolment_token (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    roles TEXT COLLATE "C" NOT NULL,
    -- SHA-256; the secret itself is with whoever was given the token.
    secret TEXT COLLATE "C" NOT NULL,
    expired_date BIGINT NOT NULL,
    -- Who has used it, and that machine's key: it may ask again when the answer was lost.
    machine_uuid TEXT COLLATE "C" REFERENCES machine (uuid),
    machine_key TEXT COLLATE "C",
    create_date BIGINT NOT NULL
);

-- Which machine it is; absent while agents are spoken with in the plain.
ALTER TABLE host ADD COLUMN machine_uuid TEXT COLLATE "C" REFERENCES machine (uuid);
ALTER TABLE backup_storage ADD COLUMN machine_uuid TEXT COLLATE "C" REFERENCES machine (uuid);

DROP VIEW host_view;
CREATE VIEW host_view AS
SELECT h.*,
    h.total_cpu AS total_cpu_capacity,
    h.total_memory AS total_memory_capacity,
    h.total_cpu - (SELECT coalesce(sum(c.cpu), 0) FROM host_claim c WHERE c.host_uuid = h.uuid)
        AS available_cpu_capacity,
    h.total_memory - (SELECT coalesce(sum(c.memory), 0) FROM host_claim c WHERE c.host_uuid = h.uuid)
        AS available_memory_capacity
FROM host h;
