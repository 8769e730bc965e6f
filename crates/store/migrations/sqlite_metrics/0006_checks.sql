-- Runs of one check in ten minutes, packed.
CREATE TABLE check_results (
    number INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (number, from_at)
) STRICT, WITHOUT ROWID;

-- What failed runs found, whole.
CREATE TABLE check_failures (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    observation TEXT NOT NULL,
    transcript TEXT NOT NULL
) STRICT;
CREATE INDEX check_failures_by_number_at ON check_failures (number, at);
CREATE INDEX check_failures_by_at ON check_failures (at);
