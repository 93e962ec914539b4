-- The list by length and by size, page by page, whatever the number of recordings.
CREATE INDEX recordings_by_length ON recordings (duration_ms, seq) WHERE deleted_at_ms IS NULL;
CREATE INDEX recordings_by_size ON recordings (size_bytes, seq) WHERE deleted_at_ms IS NULL;
