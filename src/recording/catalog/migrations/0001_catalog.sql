-- The catalogue: an index of the manifests in the recordings folder. Nothing here that the folder does not know.

CREATE TABLE recordings (
    -- started_at_ms * 2^20 + some bits of the id: newest first is one integer, for pages, joins and search alike.
    seq           INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    room          TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    started_at_ms INTEGER NOT NULL,
    duration_ms   INTEGER NOT NULL,
    size_bytes    INTEGER NOT NULL,
    files_count   INTEGER NOT NULL,
    -- The manifest without the details of its files: what a list shows.
    summary       TEXT    NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    -- Of the manifest.json that was read; 0 when the manifest came from the recorder itself.
    manifest_mtime_ns INTEGER NOT NULL,
    -- Set while the recording waits in the trash.
    deleted_at_ms INTEGER
);
CREATE INDEX recordings_shown ON recordings (seq) WHERE deleted_at_ms IS NULL;
CREATE INDEX recordings_by_room ON recordings (room, seq) WHERE deleted_at_ms IS NULL;
CREATE INDEX recordings_by_state ON recordings (state, seq) WHERE deleted_at_ms IS NULL;
CREATE INDEX recordings_deleted ON recordings (deleted_at_ms) WHERE deleted_at_ms IS NOT NULL;

-- Apart from the list, so that a page does not read what it does not show.
CREATE TABLE manifests (
    seq  INTEGER PRIMARY KEY REFERENCES recordings (seq) ON DELETE CASCADE ON UPDATE CASCADE,
    json TEXT NOT NULL
);

-- Who is in a recording: the person's key and the folded name, both found by the same filter.
CREATE TABLE people (
    who TEXT    NOT NULL,
    seq INTEGER NOT NULL REFERENCES recordings (seq) ON DELETE CASCADE ON UPDATE CASCADE,
    PRIMARY KEY (who, seq)
) WITHOUT ROWID;
CREATE INDEX people_by_recording ON people (seq);

-- Chinese, Japanese and Korean text comes in with each character as a word of its own; unicode61 cannot split it.
CREATE VIRTUAL TABLE search USING fts5 (
    title, tags, room, people, chat,
    tokenize = "unicode61 remove_diacritics 2",
    prefix = '1 2 3'
);
