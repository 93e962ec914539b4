-- What the last weeks took is added up for every page of the list: from the index alone, whatever the number of recordings.
CREATE INDEX recordings_sizes ON recordings (seq, size_bytes) WHERE deleted_at_ms IS NULL;
