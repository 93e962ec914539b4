-- The search knows what captions say. What it knew already is kept, so that it finds it at once.
CREATE VIRTUAL TABLE wider USING fts5 (
    title, tags, room, people, chat, said,
    tokenize = "unicode61 remove_diacritics 2",
    prefix = '1 2 3'
);
INSERT INTO wider (rowid, title, tags, room, people, chat) SELECT rowid, title, tags, room, people, chat FROM search;
DROP TABLE search;
ALTER TABLE wider RENAME TO search;

-- Captions are read, and summaries get a mark of quality, at the next look through the folder.
UPDATE recordings SET manifest_mtime_ns = 0;
