-- The state of dynowatch. Times are microseconds since 1970 (UTC), named `*_at` or `at`.

-- Apps, as the team calls them.
CREATE TABLE apps (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL,
    host_hint TEXT,
    created_at INTEGER NOT NULL,
    last_line_at INTEGER
) STRICT;

-- Which app a Logplex drain token stands for.
CREATE TABLE drain_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    app_id BLOB NOT NULL REFERENCES apps (id),
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX drain_tokens_by_app ON drain_tokens (app_id);

-- Frames that had an effect, so that a repeated batch counts once (C3).
CREATE TABLE frames (
    app_id BLOB NOT NULL,
    frame_id TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, frame_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX frames_by_seen ON frames (seen_at);

-- Where each key (app, rule, group) stands. `version` grows with every change; events stamped up to `consumed_stamp` that
-- arrived before `consumed_at` belong to an alert that is over.
CREATE TABLE tracks (
    app_id BLOB NOT NULL REFERENCES apps (id),
    rule TEXT NOT NULL,
    grp TEXT NOT NULL,
    version INTEGER NOT NULL,
    track TEXT NOT NULL,
    phase TEXT NOT NULL,
    alert_id BLOB,
    next_wake_at INTEGER,
    changed_at INTEGER NOT NULL,
    consumed_stamp INTEGER,
    consumed_at INTEGER,
    last_match_id INTEGER,
    PRIMARY KEY (app_id, rule, grp)
) STRICT, WITHOUT ROWID;
CREATE INDEX tracks_by_alert ON tracks (alert_id);
CREATE INDEX tracks_by_phase_open ON tracks (phase) WHERE phase <> 'quiet';

-- What a rule counted, one row per key and commit, in the order of arrival. `events` is packed (see `packed.rs`). A key's rows
-- are a chain from its newest (`tracks.last_match_id`) back: an index by key would cost a page per key and commit.
CREATE TABLE matches (
    id INTEGER PRIMARY KEY,
    app_id BLOB NOT NULL,
    rule TEXT NOT NULL,
    grp TEXT NOT NULL,
    arrived_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    events BLOB NOT NULL,
    lines TEXT NOT NULL,
    previous_id INTEGER
) STRICT;

-- Alerts, from the moment they fired.
CREATE TABLE alerts (
    id BLOB NOT NULL PRIMARY KEY,
    app_id BLOB NOT NULL REFERENCES apps (id),
    rule TEXT NOT NULL,
    grp TEXT NOT NULL,
    severity TEXT NOT NULL,
    fired_at INTEGER NOT NULL,
    resolved_at INTEGER,
    resolve_reason TEXT,
    previous_id BLOB,
    told INTEGER NOT NULL,
    facts TEXT NOT NULL,
    details TEXT NOT NULL,
    evidence TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_by_fired_id ON alerts (fired_at, id);
CREATE INDEX alerts_by_app_rule_grp_fired ON alerts (app_id, rule, grp, fired_at);
CREATE INDEX alerts_by_resolved ON alerts (resolved_at);

-- Why an alert fired, was held back, told, merged, resolved: one row per decision.
CREATE TABLE decisions (
    alert_id BLOB NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    effect TEXT NOT NULL,
    PRIMARY KEY (alert_id, number)
) STRICT, WITHOUT ROWID;

-- The outbox: one message to one receiver, from intent to an end.
CREATE TABLE deliveries (
    id BLOB NOT NULL PRIMARY KEY,
    alert_id BLOB REFERENCES alerts (id) ON DELETE CASCADE,
    receiver TEXT NOT NULL,
    kind TEXT NOT NULL,
    notice TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    intended_at INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    lease_until INTEGER,
    send_resolved INTEGER NOT NULL,
    finished_at INTEGER,
    detail TEXT
) STRICT;
CREATE INDEX deliveries_by_receiver_intended_id_pending ON deliveries (receiver, intended_at, id) WHERE state = 'pending';
CREATE INDEX deliveries_by_next_attempt_pending ON deliveries (next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_by_alert ON deliveries (alert_id);
CREATE INDEX deliveries_by_intended_id ON deliveries (intended_at, id);
CREATE INDEX deliveries_by_state_finished ON deliveries (state, finished_at);
CREATE UNIQUE INDEX deliveries_by_alert_receiver_resolved ON deliveries (alert_id, receiver) WHERE kind = 'resolved';

-- Every attempt, written before it is made. No outcome: nobody knows whether the receiver has it.
CREATE TABLE attempts (
    delivery_id BLOB NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    said_resolved INTEGER NOT NULL,
    finished_at INTEGER,
    outcome TEXT,
    detail TEXT,
    PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

-- Releases as the drain told of them.
CREATE TABLE releases (
    app_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    version INTEGER,
    kind TEXT NOT NULL,
    actor TEXT,
    what TEXT,
    PRIMARY KEY (app_id, at)
) STRICT, WITHOUT ROWID;

-- Times we did not see everything; no app means all of them.
CREATE TABLE blinds (
    id INTEGER PRIMARY KEY,
    app_id BLOB,
    reason TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    lines_lost INTEGER
) STRICT;
CREATE INDEX blinds_by_until ON blinds (until_at);

-- Rules that someone quieted for a while.
CREATE TABLE rule_overrides (
    rule TEXT NOT NULL PRIMARY KEY,
    disabled_until INTEGER NOT NULL,
    by_whom TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Tokens of the API: only their hash.
CREATE TABLE api_tokens (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- Who does what only one process may do.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until_at INTEGER NOT NULL,
    fence INTEGER NOT NULL
) STRICT;

-- Processes and when they were last alive: what lies between two of them, nobody saw.
CREATE TABLE processes (
    id BLOB NOT NULL PRIMARY KEY,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
