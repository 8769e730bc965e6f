-- Checks and maintenance windows made in the console, in the form of the configuration file without their names.
CREATE TABLE checks (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    by_whom TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE maintenance_windows (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    by_whom TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every check that was ever run, wherever it was written. Its number gives its place in the schedule. `owner` runs it until
-- `lease_until`; only the owner writes state, memory and heartbeat, and `version` counts that.
CREATE TABLE check_states (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    memory TEXT NOT NULL,
    heartbeat TEXT NOT NULL,
    last TEXT NOT NULL,
    shown TEXT NOT NULL,
    last_run_at INTEGER,
    missed INTEGER NOT NULL,
    ping_token TEXT UNIQUE,
    paused_at INTEGER,
    paused_by TEXT,
    run_asked_at INTEGER,
    pin_asked_at INTEGER,
    owner TEXT,
    lease_until INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;

-- From then on a check counts as something else (the number of a standing). Kept for ever: uptime is walked from them.
CREATE TABLE check_flips (
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    PRIMARY KEY (number, at)
) STRICT, WITHOUT ROWID;

-- Times of not working, those that nobody was told of among them. `id` is that of the alert, where there is one.
CREATE TABLE check_outages (
    id BLOB NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    opened_at INTEGER,
    flapping INTEGER NOT NULL,
    held TEXT
) STRICT;
CREATE INDEX check_outages_by_number_began ON check_outages (number, began_at);

-- What jobs said. `taken`: it has entered the heartbeat's state.
CREATE TABLE check_pings (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    run TEXT,
    note TEXT NOT NULL,
    taken INTEGER NOT NULL
) STRICT;
CREATE INDEX check_pings_by_number ON check_pings (number, id);
CREATE INDEX check_pings_by_at ON check_pings (at);

-- Since when a process cannot reach its control targets.
CREATE TABLE check_blinds (
    process BLOB NOT NULL PRIMARY KEY,
    since_at INTEGER NOT NULL
) STRICT;
