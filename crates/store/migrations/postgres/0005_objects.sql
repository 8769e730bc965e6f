-- Rules and receivers made in the console. `body` has the form that the object has in the configuration file, without
-- its name; what it means is asked of the file's reader each time.
CREATE TABLE rules (
    name TEXT NOT NULL PRIMARY KEY,
    body JSONB NOT NULL,
    by_whom TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE receivers (
    name TEXT NOT NULL PRIMARY KEY,
    body JSONB NOT NULL,
    by_whom TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
