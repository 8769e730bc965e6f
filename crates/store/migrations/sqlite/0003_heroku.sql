-- What Heroku's Platform API says of the apps. Never the value of a config var, never a drain's URL.

-- One row per app: its parts are read and replaced together. What is gone at Heroku stays for a while, marked.
CREATE TABLE heroku_apps (
    app_id BLOB NOT NULL PRIMARY KEY REFERENCES apps (id),
    heroku_id BLOB NOT NULL UNIQUE,
    heroku_name TEXT NOT NULL,
    facts TEXT NOT NULL,
    formation TEXT NOT NULL,
    dynos TEXT NOT NULL,
    addons TEXT NOT NULL,
    drains TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    gone_at INTEGER,
    dynos_at INTEGER,
    drains_at INTEGER,
    releases_at INTEGER,
    next_dynos_at INTEGER NOT NULL,
    next_drains_at INTEGER NOT NULL,
    problem TEXT
) STRICT;

-- The lists that are read as a whole, and until when nothing may be asked: when next, when last, what was wrong.
CREATE TABLE heroku_sync (
    name TEXT NOT NULL PRIMARY KEY,
    next_at INTEGER NOT NULL,
    done_at INTEGER,
    problem TEXT
) STRICT;

-- Drains being replaced: what is done, what comes next and when. `version` grows with every step.
CREATE TABLE drain_rotations (
    id BLOB NOT NULL PRIMARY KEY,
    app_id BLOB NOT NULL REFERENCES apps (id),
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    mark TEXT NOT NULL,
    old_drain BLOB NOT NULL,
    old_token TEXT NOT NULL,
    old_mark TEXT,
    new_drain BLOB,
    new_token TEXT,
    old_delivered_at INTEGER,
    new_delivered_at INTEGER,
    cutover_at INTEGER,
    next_at INTEGER,
    attempts INTEGER NOT NULL,
    problem TEXT,
    by_whom TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX drain_rotations_by_app_open ON drain_rotations (app_id) WHERE next_at IS NOT NULL;
CREATE INDEX drain_rotations_by_changed ON drain_rotations (changed_at);

-- The name in the path of a drain's URL, which stays when the app is renamed.
ALTER TABLE drain_tokens ADD COLUMN url_name TEXT;

-- What only the API knows of a release.
ALTER TABLE releases ADD COLUMN release_id BLOB;
ALTER TABLE releases ADD COLUMN code_changed INTEGER;
ALTER TABLE releases ADD COLUMN commit_hash TEXT;
ALTER TABLE releases ADD COLUMN status TEXT;
