-- Sums that may lose their last ten seconds; in a file of their own, so that writing them never delays an alert.

-- What a rule saw of a key in ten seconds: sums, so that they merge.
CREATE TABLE level_buckets (
    rule TEXT NOT NULL,
    app_id BLOB NOT NULL,
    grp TEXT NOT NULL,
    at INTEGER NOT NULL,
    total INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    PRIMARY KEY (rule, app_id, grp, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX level_buckets_by_at ON level_buckets (at);
