-- The dictionary of series.
CREATE TABLE metric_series (
    id INTEGER PRIMARY KEY,
    app_id BLOB NOT NULL,
    metric TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    label TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX metric_series_by_key ON metric_series (app_id, metric, kind, source, label);

-- Ten-second values of one app, as one process saw them until `at`; they lie between `from_at` and `until_at`. Written once;
-- `folded` once they are in the packs too.
CREATE TABLE metric_chunks (
    id INTEGER PRIMARY KEY,
    app_id BLOB NOT NULL,
    process BLOB NOT NULL,
    at INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    folded INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX metric_chunks_by_app_until ON metric_chunks (app_id, until_at);
CREATE INDEX metric_chunks_by_app_unfolded ON metric_chunks (app_id, at) WHERE folded = 0;
CREATE INDEX metric_chunks_by_at ON metric_chunks (at);

-- One series in steps of so many seconds: an hour of minutes, a day of ten minutes, 30 days of hours. `roll`: 1 has changed since
-- it went into the next longer step, 2 never goes there (single dynos), 0 has gone.
CREATE TABLE metric_packs (
    series INTEGER NOT NULL,
    step INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    roll INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (series, step, from_at)
) STRICT;
CREATE INDEX metric_packs_by_from_rolling ON metric_packs (step, from_at) WHERE roll = 1;

-- The most frequent paths of an hour: all, and those of failed requests.
CREATE TABLE metric_paths (
    app_id BLOB NOT NULL,
    errors INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (app_id, errors, from_at)
) STRICT, WITHOUT ROWID;
