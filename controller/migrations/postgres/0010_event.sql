-- Who outside the process is told of events, and how far each has come.
CREATE TABLE web_hook (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    url TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    opaque TEXT COLLATE "C",
    secret TEXT COLLATE "C" NOT NULL,
    -- The last event that was delivered or given up.
    seq BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    not_before BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TABLE dead_letter (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    web_hook_uuid TEXT COLLATE "C" NOT NULL REFERENCES web_hook (uuid) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    payload TEXT COLLATE "C" NOT NULL,
    event_date BIGINT NOT NULL,
    error TEXT COLLATE "C" NOT NULL,
    create_date BIGINT NOT NULL
);
CREATE INDEX dead_letter_web_hook ON dead_letter (web_hook_uuid);
-- How far the message broker has come.
CREATE TABLE event_cursor (name TEXT COLLATE "C" PRIMARY KEY, seq BIGINT NOT NULL);
