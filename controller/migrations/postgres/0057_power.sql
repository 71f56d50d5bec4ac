-- By what a host is switched off, where there is something.
CREATE TABLE host_power (
    host_uuid TEXT COLLATE "C" PRIMARY KEY REFERENCES host (uuid) ON DELETE CASCADE,
    type TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C" NOT NULL,
    password TEXT COLLATE "C" NOT NULL,
    -- What its certificate is checked by, PEM; without one, what everybody trusts.
    authority TEXT COLLATE "C"
);
