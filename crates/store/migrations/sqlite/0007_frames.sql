-- Batches that had an effect, in the order of arrival. Which of them are known is held in memory (see `frames.rs`): a key
-- or an index by id costs a page of the log per batch.
ALTER TABLE frames RENAME TO frames_by_id;
CREATE TABLE frames (
    app_id BLOB NOT NULL,
    frame_id TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
INSERT INTO frames (app_id, frame_id, seen_at) SELECT app_id, frame_id, seen_at FROM frames_by_id ORDER BY seen_at;
DROP TABLE frames_by_id;
