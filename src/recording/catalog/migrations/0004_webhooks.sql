-- What is told to other programs, in order, and how far each of them has heard. Not from the folder: a rebuild leaves it alone.

CREATE TABLE hook_events (
    n     INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What happened to what: the same is told once.
    key   TEXT    NOT NULL UNIQUE,
    event TEXT    NOT NULL,
    body  TEXT    NOT NULL,
    at_ms INTEGER NOT NULL
);

CREATE TABLE hook_targets (
    url  TEXT    PRIMARY KEY,
    -- The last event that was taken.
    done INTEGER NOT NULL
);
