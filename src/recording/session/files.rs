//! The files of a recording: when one is made, where it stands in time, how it ends.

use std::time::Instant;

use reelay_signaling::{Kind, ParticipantId, RecordingStatus, Source};
use serde_json::Value;

use super::{EARLIER_US, Running, Shared, SourceState};
use crate::recording::api::{Tracks, Update};
use crate::recording::events;
use crate::recording::feed::Feed;
use crate::recording::file::parent;
use crate::recording::keeper::Job;
use crate::recording::manifest::{SegmentEntry, file_name};
use crate::recording::parallel::in_parallel;
use crate::recording::segment::{Ended, Segment};
use crate::recording::storage::StorageError;
use crate::recording::store::{self, Sureness};
use crate::recording::timeline::Shape;
use crate::rtp::{Codec, MediaTime};
use crate::webm::part_path;

impl Running {
    /// Writes what waits in one file. True when that was the first of the recording.
    pub(super) fn write(
        &mut self,
        shared: &Shared,
        now: Instant,
        key: &(ParticipantId, Source),
    ) -> Result<bool, StorageError> {
        let began = !self.has_begun();
        let is_new_file = self.sources.get(key).and_then(|s| s.segment.as_ref()).is_some_and(|s| !s.has_begun());
        if is_new_file {
            self.place_segment(shared, key)?;
        }
        let date_ms = self.date_ms(shared, key);
        let Some(segment) = self.sources.get_mut(key).and_then(|source| source.segment.as_mut()) else {
            return Ok(false);
        };
        segment.write(&shared.storage, date_ms)?;
        if is_new_file && segment.has_begun() {
            if began {
                self.manifest.state =
                    if self.cuts.is_paused() { RecordingStatus::Paused } else { RecordingStatus::Recording };
            }
            self.publish(shared, now);
        }
        Ok(is_new_file)
    }

    /// Keeps what a file holds that has not begun. Nobody is told of that, and it is gone as soon as the file is there.
    pub(super) fn draft(&mut self, shared: &Shared, now: Instant, key: &(ParticipantId, Source)) {
        let segment = self.sources.get_mut(key).and_then(|source| source.segment.as_mut());
        let Some(draft) = segment.and_then(|segment| segment.draft(now)) else { return };
        let date_ms = self.date_of(shared, draft.feed.base().map(MediaTime::us));
        let keep = |this: &mut Self| -> Result<(), StorageError> {
            if !this.has_folder {
                shared.storage.make_dir(&this.folder)?;
                this.has_draft = true;
                store::write_manifest(&*shared.storage, &this.folder, &this.manifest, Sureness::Process)?;
            }
            draft.keep(&shared.storage, date_ms)
        };
        // What the disk refuses here it refuses again in a moment, and that is told.
        if let Err(error) = keep(self) {
            tracing::debug!(recording = %self.manifest.id, %error, "cannot keep a draft");
        }
    }

    /// Before the first block of a file: its folder, its place in time, its entry in the manifest.
    fn place_segment(&mut self, shared: &Shared, key: &(ParticipantId, Source)) -> Result<(), StorageError> {
        let Some(base) = self.base_of(key) else { return Ok(()) };
        let origin = match self.origin {
            Some((origin, _)) => origin,
            None => {
                // Others may have begun a moment earlier and just not be ready.
                let arrival = |source: &SourceState| source.segment.as_ref()?.feed.first_arrival_us();
                let own = self.sources.get(key).and_then(arrival).unwrap_or(i64::MAX);
                let first = self.sources.values().filter_map(arrival).min().unwrap_or(own);
                let cut = self.cuts.floor(first.saturating_sub(EARLIER_US)).us();
                let origin = if first < own { base.min(cut) } else { base };
                let server_us = origin + self.cuts.removed_before(origin);
                self.origin = Some((origin, server_us));
                self.manifest.started_at = shared.wall.text(server_us);
                origin
            }
        };
        self.make_folder(shared)?;
        let Some(segment) = self.sources.get_mut(key).and_then(|source| source.segment.as_mut()) else {
            return Ok(());
        };
        segment.entry.offset_ms = (base - origin).max(0) as u64 / 1000;
        if self.manifest.file(&segment.entry.file).is_none() {
            self.manifest.files.push(segment.entry.clone());
        }
        Ok(())
    }

    pub(super) fn make_folder(&mut self, shared: &Shared) -> Result<(), StorageError> {
        if self.has_folder {
            return Ok(());
        }
        shared.storage.make_dir(&self.folder)?;
        // A manifest that cannot be written is tried again with the next one; the media does not wait for it.
        if let Err(error) = store::write_manifest(&*shared.storage, &self.folder, &self.manifest, Sureness::Process) {
            tracing::warn!(recording = %self.manifest.id, %error, "cannot write the manifest yet");
        }
        self.has_folder = true;
        shared.keep(Job::SyncDir(parent(&self.folder).to_path_buf()));
        let early = std::mem::take(&mut self.early);
        self.write_events(shared, early);
        Ok(())
    }

    pub(super) fn write_events(&self, shared: &Shared, events: Vec<(Value, i64, i64)>) {
        let mut text = Vec::new();
        for (event, at_us, server_us) in events {
            let line = events::line(event, self.t_ms(at_us), &shared.wall.text(server_us));
            text.extend(line.as_bytes());
            text.push(b'\n');
            let _ = shared.updates.send(Update::Event {
                recording: self.manifest.id.clone(),
                room: self.room.clone(),
                line,
            });
        }
        if !text.is_empty() {
            shared.keep(Job::Append(self.folder.join(store::EVENTS), text));
        }
    }

    pub(super) fn open_segment(&mut self, shared: &Shared, key: &(ParticipantId, Source)) {
        let number = self.numbers.entry(key.clone()).or_default();
        *number += 1;
        let name = file_name(&key.0, key.1, *number);
        let listed = self.manifest.participants.iter().find(|person| person.id == key.0);
        let (person, shown) = listed.map(|p| (p.person.clone(), p.name.clone())).unwrap_or_default();
        let Some(source) = self.sources.get_mut(key) else { return };
        let is_camera = key.1 == Source::Camera;
        let (audio, video) = source.declared.filter(|_| is_camera).unwrap_or((is_camera, true));
        let records_video = shared.options.tracks == Tracks::Av;
        let shape = Shape {
            audio: audio || source.has_audio,
            video: source.video.or(video.then_some(Codec::Vp8)).filter(|_| records_video),
        };
        let mut feed = Feed::new(shape, shared.options.reorder_wait, shared.zero, self.cuts.clone());
        for kind in [Kind::Audio, Kind::Video] {
            feed.set_muted(kind, source.muted[kind as usize]);
        }
        let entry = SegmentEntry::open(name, key.0.clone(), key.1, person, shown);
        let channels = if source.channels == 1 { 1 } else { 2 };
        source.segment = Some(Segment::new(feed, entry, &self.folder, channels));
    }

    pub(super) fn close_segment(
        &mut self,
        shared: &Shared,
        now: Instant,
        key: &(ParticipantId, Source),
        reason: &'static str,
    ) {
        if let Some((segment, date_ms)) = self.take_segment(shared, now, key) {
            let closed = segment.close(now, &shared.storage, date_ms);
            if self.put_away(shared, now, reason, closed) {
                self.publish(shared, now);
            }
        }
    }

    /// Closes all files, several at once.
    pub(super) fn close_segments(&mut self, shared: &Shared, now: Instant, reason: &'static str) {
        let keys: Vec<_> = self.sources.keys().cloned().collect();
        let open: Vec<_> = keys.iter().filter_map(|key| self.take_segment(shared, now, key)).collect();
        let closed = in_parallel(open, |(segment, date_ms)| segment.close(now, &shared.storage, date_ms));
        for one in closed {
            self.put_away(shared, now, reason, one);
        }
    }

    /// The file of a source, to be closed, and the date in it.
    fn take_segment(&mut self, shared: &Shared, now: Instant, key: &(ParticipantId, Source)) -> Option<(Segment, i64)> {
        let source = self.sources.get_mut(key)?;
        let mut segment = source.segment.take()?;
        if !segment.has_begun() {
            // It may be so short that nothing was placed yet.
            segment.feed.finish(now);
            source.segment = Some(segment);
            if self.place_drained(shared, key).is_err() {
                self.interrupted.get_or_insert(("io-error", now));
            }
            segment = self.sources.get_mut(key)?.segment.take()?;
        }
        // What the end itself releases has no holes that are news.
        if self.has_begun() {
            let gaps = segment.new_gaps(true);
            self.tell_gaps(shared, now, &[(key.clone(), gaps)]);
        }
        let date_ms = self.date_of(shared, segment.feed.base().map(MediaTime::us));
        Some((segment, date_ms))
    }

    /// Notes how a file ended. True when it is part of the recording.
    fn put_away(
        &mut self,
        shared: &Shared,
        now: Instant,
        reason: &'static str,
        (mut entry, ended, jobs): (SegmentEntry, Ended, Vec<Job>),
    ) -> bool {
        for job in jobs {
            shared.keep(job);
        }
        let at = self.manifest.files.iter().position(|known| known.file == entry.file);
        if ended == Ended::Empty {
            if let Some(at) = at {
                self.manifest.files.remove(at);
            }
            return false;
        }
        entry.close_reason = Some(reason.to_owned());
        entry.closed_at = Some(shared.wall.text(shared.us(now)));
        if let Ended::Unfinished(why) = ended {
            entry.close_reason = Some(why.to_owned());
            self.interrupted.get_or_insert((why, now));
            self.miss(shared, entry.clone());
        }
        if !self.has_begun() {
            self.manifest.state = RecordingStatus::Recording;
        }
        let is_there = !entry.open || shared.storage.exists(&part_path(&self.folder.join(&entry.file)));
        match at {
            Some(at) if !is_there => drop(self.manifest.files.remove(at)),
            Some(at) => self.manifest.files[at] = entry,
            None if !is_there => {}
            None => self.manifest.files.push(entry),
        }
        true
    }

    /// A file that ends before its first block was written: its base becomes known when it is drained.
    fn place_drained(&mut self, shared: &Shared, key: &(ParticipantId, Source)) -> Result<(), StorageError> {
        if let Some(segment) = self.sources.get_mut(key).and_then(|source| source.segment.as_mut())
            && segment.settle()
        {
            self.place_segment(shared, key)?;
        }
        Ok(())
    }

    fn base_of(&self, key: &(ParticipantId, Source)) -> Option<i64> {
        Some(self.sources.get(key)?.segment.as_ref()?.feed.base()?.us())
    }

    /// Wall clock of the first block of a file.
    pub(super) fn date_ms(&self, shared: &Shared, key: &(ParticipantId, Source)) -> i64 {
        self.date_of(shared, self.base_of(key))
    }

    fn date_of(&self, shared: &Shared, base: Option<i64>) -> i64 {
        let base = base.or(self.origin.map(|(origin, _)| origin)).unwrap_or_default();
        shared.wall.unix_ms(base + self.cuts.removed_before(base))
    }
}
