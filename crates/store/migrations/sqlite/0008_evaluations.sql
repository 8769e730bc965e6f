-- What evaluations changed that `tracks`, `matches` and `frames` do not say yet, one row each (see `evaluate/journal.rs`).
-- There is always a row: the newest id is the number of evaluations there were.
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    body TEXT
) STRICT;
INSERT INTO evaluations (id, at) VALUES (0, 0);
