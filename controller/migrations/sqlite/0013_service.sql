-- Programs beside the controller that answer calls under a prefix of their own.
CREATE TABLE service (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    prefix TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    -- Signs what is forwarded.
    secret TEXT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
