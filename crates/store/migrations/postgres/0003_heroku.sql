-- What Heroku's Platform API says of the apps. Never the value of a config var, never a drain's URL.

-- One row per app: its parts are read and replaced together. What is gone at Heroku stays for a while, marked.
CREATE TABLE heroku_apps (
    app_id UUID NOT NULL PRIMARY KEY REFERENCES apps (id),
    heroku_id UUID NOT NULL UNIQUE,
    heroku_name TEXT NOT NULL,
    facts JSONB NOT NULL,
    formation JSONB NOT NULL,
    dynos JSONB NOT NULL,
    addons JSONB NOT NULL,
    drains JSONB NOT NULL,
    seen_at BIGINT NOT NULL,
    gone_at BIGINT,
    dynos_at BIGINT,
    drains_at BIGINT,
    releases_at BIGINT,
    next_dynos_at BIGINT NOT NULL,
    next_drains_at BIGINT NOT NULL,
    problem TEXT
);

-- The lists that are read as a whole, and until when nothing may be asked: when next, when last, what was wrong.
CREATE TABLE heroku_sync (
    name TEXT NOT NULL PRIMARY KEY,
    next_at BIGINT NOT NULL,
    done_at BIGINT,
    problem TEXT
);

-- Drains being replaced: what is done, what comes next and when. `version` grows with every step.
CREATE TABLE drain_rotations (
    id UUID NOT NULL PRIMARY KEY,
    app_id UUID NOT NULL REFERENCES apps (id),
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    mark TEXT NOT NULL,
    old_drain UUID NOT NULL,
    old_token TEXT NOT NULL,
    old_mark TEXT,
    new_drain UUID,
    new_token TEXT,
    old_delivered_at BIGINT,
    new_delivered_at BIGINT,
    cutover_at BIGINT,
    next_at BIGINT,
    attempts BIGINT NOT NULL,
    problem TEXT,
    by_whom TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX drain_rotations_by_app_open ON drain_rotations (app_id) WHERE next_at IS NOT NULL;
CREATE INDEX drain_rotations_by_changed ON drain_rotations (changed_at);

-- The name in the path of a drain's URL, which stays when the app is renamed.
ALTER TABLE drain_tokens ADD COLUMN url_name TEXT;

-- What only the API knows of a release.
ALTER TABLE releases ADD COLUMN release_id UUID;
ALTER TABLE releases ADD COLUMN code_changed BOOLEAN;
ALTER TABLE releases ADD COLUMN commit_hash TEXT;
ALTER TABLE releases ADD COLUMN status TEXT;
