-- By what a host is switched off, where there is something.
CREATE TABLE host_power (
    host_uuid TEXT PRIMARY KEY REFERENCES host (uuid) ON DELETE CASCADE,
    type TEXT NOT NULL,
    url TEXT NOT NULL,
    username TEXT NOT NULL,
    password TEXT NOT NULL,
    -- What its certificate is checked by, PEM; without one, what everybody trusts.
    authority TEXT
);
