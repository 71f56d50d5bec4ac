-- How much of their hosts VMs of each priority get beside others.
CREATE TABLE vm_priority_config (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    account_uuid TEXT COLLATE "C" NOT NULL,
    level TEXT COLLATE "C" NOT NULL UNIQUE,
    cpu_shares BIGINT NOT NULL,
    oom_score_adj BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
INSERT INTO vm_priority_config (uuid, account_uuid, level, cpu_shares, oom_score_adj, create_date, last_op_date) VALUES
    ('9f2c1b6e5a0d4c7e8b3f6a1d2e4c5b70', '36c27e8ff05c4780bf6d2fa65700f22e', 'Normal', 1024, 0, 1763769600000000, 1763769600000000),
    ('9f2c1b6e5a0d4c7e8b3f6a1d2e4c5b71', '36c27e8ff05c4780bf6d2fa65700f22e', 'High', 2048, -500, 1763769600000000, 1763769600000000);
