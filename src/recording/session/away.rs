//! Files of a recording that somebody took out of sight: another disk over the folder, a folder that was moved or removed.
//! The recording goes on in new ones, and those that come back are part of it again.

use std::time::Instant;

use reelay_signaling::{ParticipantId, Source};

use super::{Running, Shared};
use crate::recording::keeper::Job;
use crate::recording::manifest::SegmentEntry;
use crate::recording::recover::{self, Away, Later};

impl Running {
    /// Open files went out of sight: what they hold goes into them as far as that can be, then others are begun.
    pub(super) fn leave(&mut self, shared: &Shared, now: Instant, lost: Vec<(ParticipantId, Source)>) {
        tracing::warn!(recording = %self.manifest.id, files = lost.len(), "files of a recording were taken away");
        self.manifest.duration_ms = self.progress(shared, now).0;
        for key in lost {
            let date_ms = self.date_ms(shared, &key);
            let Some(segment) = self.sources.get_mut(&key).and_then(|source| source.segment.take()) else { continue };
            let (mut entry, gaps, sync) = segment.leave(now, &shared.storage, date_ms);
            entry.close_reason = Some("io-error".to_owned());
            entry.closed_at = Some(shared.wall.text(shared.us(now)));
            if let Some(sync) = sync {
                shared.keep(sync);
            }
            self.tell_gaps(shared, now, &[(key, gaps)]);
            self.manifest.files.retain(|known| known.file != entry.file);
            self.miss(shared, entry);
        }
        self.leave_closed(shared);
        self.interrupt(shared, now, "io-error");
    }

    /// Files that are closed may have gone with the folder.
    pub(super) fn leave_closed(&mut self, shared: &Shared) {
        self.has_folder = false;
        let is_there = |entry: &SegmentEntry| entry.open || shared.storage.exists(&self.folder.join(&entry.file));
        let (there, gone) = std::mem::take(&mut self.manifest.files).into_iter().partition(is_there);
        self.manifest.files = there;
        let gone: Vec<SegmentEntry> = gone;
        for entry in gone {
            self.miss(shared, entry);
        }
    }

    /// Has a file ended, or only listed, when that can be done.
    pub(super) fn miss(&mut self, shared: &Shared, entry: SegmentEntry) {
        self.away.insert(entry.file.clone());
        let (recording, folder) = (self.manifest.id.clone(), self.folder.clone());
        let away = Away { recording, folder: folder.clone(), entry: Box::new(entry) };
        shared.keep(Job::Then(folder, Later::Away(away)));
    }

    /// A file is back, and ended.
    pub fn take_back(&mut self, shared: &Shared, now: Instant, Away { entry, .. }: Away) {
        if entry.bytes > 0 && !shared.storage.exists(&self.folder.join(&entry.file)) {
            return self.miss(shared, *entry);
        }
        self.away.remove(&entry.file);
        recover::put(&mut self.manifest, &self.folder, &entry);
        // Its folder is there, so the recording goes on in it.
        if let Err(error) = self.make_folder(shared) {
            tracing::warn!(recording = %self.manifest.id, %error, "cannot write a recording");
        }
        self.event(shared, now, serde_json::json!({"type": "repaired", "files": 1, "state": self.manifest.state}));
        self.publish(shared, now);
    }
}
