-- Summaries name a poster now: every manifest is read again at the next look through the folder.
UPDATE recordings SET manifest_mtime_ns = 0;
