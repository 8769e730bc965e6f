-- The same columns as on SQLite, where nothing is unique: here an index says what is known, to any number of processes.
ALTER TABLE frames DROP CONSTRAINT frames_pkey;
CREATE UNIQUE INDEX frames_by_frame_id ON frames (app_id, frame_id);
