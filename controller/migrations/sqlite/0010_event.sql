-- Who outside the process is told of events, and how far each has come.
CREATE TABLE web_hook (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    url TEXT NOT NULL,
    type TEXT NOT NULL,
    opaque TEXT,
    secret TEXT NOT NULL,
    -- The last event that was delivered or given up.
    seq BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    last_error TEXT,
    not_before BIGINT NOT NULL,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE TABLE dead_letter (
    uuid TEXT PRIMARY KEY,
    web_hook_uuid TEXT NOT NULL REFERENCES web_hook (uuid) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    name TEXT NOT NULL,
    resource TEXT NOT NULL,
    payload TEXT NOT NULL,
    event_date BIGINT NOT NULL,
    error TEXT NOT NULL,
    create_date BIGINT NOT NULL
);
CREATE INDEX dead_letter_web_hook ON dead_letter (web_hook_uuid);
-- How far the message broker has come.
CREATE TABLE event_cursor (name TEXT PRIMARY KEY, seq BIGINT NOT NULL);
