-- What happened to an app that is no release and no alert: scaling, restarts, crashes.
CREATE TABLE app_events (
    app_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    actor TEXT,
    what TEXT,
    PRIMARY KEY (app_id, at, kind, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX app_events_by_at ON app_events (at);

-- The newest state of each dyno: one that crashed may say nothing more for hours.
CREATE TABLE dyno_states (
    app_id BLOB NOT NULL,
    dyno TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (app_id, dyno)
) STRICT, WITHOUT ROWID;
