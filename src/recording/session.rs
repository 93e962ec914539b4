//! One recording while it runs: its folder, its sources and their files, its manifest and events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelay_signaling::{Kind, ParticipantId, RecordingId, RecordingStatus, RoomName, Source};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::api::{Options, Update};
use super::cuts::Cuts;
use super::events::{MachineClock, WallClock};
use super::feed::NeedsNewFile;
use super::keeper::{Job, Keeper};
use super::life::{PersonChange, TrackChange};
use super::manifest::{Gap, Manifest, Pause, Person};
use super::recover::Later;
use super::segment::Segment;
use super::storage::Storage;
use super::store::{self};
use super::watch::Watch;
use crate::media::TapItem;
use crate::rtp::Codec;

mod away;
mod files;

/// What all recordings share.
pub struct Shared {
    /// The settings.
    pub options: Options,
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// Server time 0.
    pub zero: Instant,
    /// Its wall clock.
    pub wall: WallClock,
    /// The machine's, which may be set at any time.
    pub clock: MachineClock,
    /// To the rest of the server.
    pub updates: UnboundedSender<Update>,
    /// To the helper.
    pub keeper: Keeper,
    /// Sees a stall of the thread that writes.
    pub watch: Arc<Watch>,
}

impl Shared {
    /// Server time of an instant.
    pub fn us(&self, at: Instant) -> i64 {
        at.saturating_duration_since(self.zero).as_micros() as i64
    }

    /// Gives the helper something to do.
    pub fn keep(&self, job: Job) {
        self.keeper.keep(job);
    }
}

/// A recording that runs.
pub struct Running {
    /// As it will be on disk.
    pub manifest: Manifest,
    /// Why it is interrupted, and since when.
    pub interrupted: Option<(&'static str, Instant)>,
    room: RoomName,
    folder: PathBuf,
    has_folder: bool,
    /// A file was kept that had not begun.
    has_draft: bool,
    cuts: Cuts,
    /// Time 0 on the clock of the cuts, and on the server's.
    origin: Option<(i64, i64)>,
    sources: BTreeMap<(ParticipantId, Source), SourceState>,
    /// Events from before the folder, with their time on the clock of the cuts and on the server's.
    early: Vec<(Value, i64, i64)>,
    numbers: BTreeMap<(ParticipantId, Source), u32>,
    /// Files that are out of sight, or could not be ended.
    away: BTreeSet<String>,
}

#[derive(Default)]
struct SourceState {
    segment: Option<Segment>,
    declared: Option<(bool, bool)>,
    video: Option<Codec>,
    has_audio: bool,
    channels: u8,
    muted: [bool; 2],
}

impl Running {
    /// A recording of which nothing is on disk.
    pub fn new(id: RecordingId, room: RoomName, by: Option<String>, dir: &store::Store, started_at: String) -> Self {
        let folder = dir.folder(&id);
        let manifest = Manifest {
            version: super::manifest::VERSION,
            id,
            room: room.as_str().to_owned(),
            state: RecordingStatus::Waiting,
            reason: None,
            by,
            started_at,
            ended_at: None,
            duration_ms: 0,
            participants: Vec::new(),
            files: Vec::new(),
            pauses: Vec::new(),
        };
        Self {
            manifest,
            room,
            interrupted: None,
            folder,
            has_folder: false,
            has_draft: false,
            cuts: Cuts::default(),
            origin: None,
            sources: BTreeMap::new(),
            early: Vec::new(),
            numbers: BTreeMap::new(),
            away: BTreeSet::new(),
        }
    }

    /// Which.
    pub fn id(&self) -> &RecordingId {
        &self.manifest.id
    }

    /// True once a block is on disk.
    pub fn has_begun(&self) -> bool {
        self.manifest.state != RecordingStatus::Waiting
    }

    /// How much is on disk, and how far that is behind the present, in milliseconds.
    pub fn progress(&self, shared: &Shared, now: Instant) -> (u64, u64) {
        let Some((origin, _)) = self.origin else { return (0, 0) };
        let end = |source: &SourceState| {
            let segment = source.segment.as_ref()?;
            Some(segment.entry.offset_ms + segment.duration_ms())
        };
        let open = self.sources.values().filter_map(end).max().unwrap_or(0);
        // What was recorded stays so while a file is out of sight.
        let duration = open.max(self.manifest.length_ms()).max(self.manifest.duration_ms);
        let passed = (self.cuts.floor(shared.us(now)).us() - origin).max(0) as u64 / 1000;
        let behind = if open == 0 { 0 } else { passed.saturating_sub(open) };
        (duration, behind)
    }

    /// What a source may send by its SDP, or what it sends.
    pub fn on_track(&mut self, id: &ParticipantId, from: Source, kind: Kind, change: TrackChange) {
        let source = self.sources.entry((id.clone(), from)).or_default();
        let feed = source.segment.as_mut().map(|segment| &mut segment.feed);
        match change {
            TrackChange::Declared { audio, video } => source.declared = Some((audio, video)),
            TrackChange::Started(codec, channels) => {
                match kind {
                    Kind::Audio => {
                        source.has_audio = true;
                        source.channels = channels;
                    }
                    Kind::Video => source.video = Some(codec),
                }
                if let Some(feed) = feed {
                    feed.declare(codec);
                }
            }
            // The tap says so too, and behind the last packet.
            TrackChange::Ended => {}
            TrackChange::Muted(muted) => {
                source.muted[kind as usize] = muted;
                if let Some(feed) = feed {
                    feed.set_muted(kind, muted);
                }
            }
        }
    }

    /// Items of one tap, each with its time.
    pub fn on_items<'a>(
        &mut self,
        shared: &Shared,
        key: &(ParticipantId, Source),
        mut items: impl Iterator<Item = (Instant, &'a mut TapItem)>,
    ) {
        loop {
            let refused = match self.sources.get_mut(key).and_then(|source| source.segment.as_mut()) {
                Some(open) => {
                    items.find_map(|(now, item)| open.feed.on_item(now, item).is_err().then_some((now, item)))
                }
                None => items.next(),
            };
            let Some((now, item)) = refused else { return };
            self.on_first_item(shared, now, key, item);
        }
    }

    /// Gives an item to the file that is open, if one is.
    fn feed(
        &mut self,
        now: Instant,
        key: &(ParticipantId, Source),
        item: &mut TapItem,
    ) -> Option<Result<(), NeedsNewFile>> {
        Some(self.sources.get_mut(key)?.segment.as_mut()?.feed.on_item(now, item))
    }

    /// An item for which no file is open, or none that can take it.
    fn on_first_item(&mut self, shared: &Shared, now: Instant, key: &(ParticipantId, Source), item: &mut TapItem) {
        let TapItem::Packet(packet) = &*item else { return };
        let codec = packet.codec;
        if !self.sources.contains_key(key) {
            self.sources.insert(key.clone(), SourceState::default());
        }
        if self.sources.get(key).is_some_and(|source| source.segment.is_none()) {
            self.open_segment(shared, key);
        }
        if self.feed(now, key, item) == Some(Err(NeedsNewFile)) {
            self.close_segment(shared, now, key, "codec");
            if let Some(source) = self.sources.get_mut(key) {
                match codec.kind() {
                    Kind::Audio => source.has_audio = true,
                    Kind::Video => source.video = Some(codec),
                }
            }
            self.open_segment(shared, key);
            self.feed(now, key, item);
        }
    }

    /// Time passes: writes what is ready. Gives true when the state changed.
    pub fn on_time(&mut self, shared: &Shared, now: Instant, disk: Option<&'static str>) -> bool {
        let (mut ready, mut early) = (Vec::new(), Vec::new());
        for (key, source) in &mut self.sources {
            let Some(segment) = &mut source.segment else { continue };
            if segment.gather(now) {
                ready.push(key.clone());
            } else if !segment.has_begun() {
                early.push(key.clone());
            }
        }
        if disk.is_none() && self.interrupted.is_none() {
            early.iter().for_each(|key| self.draft(shared, now, key));
        }
        if ready.is_empty() {
            return false;
        }
        if let Some(reason) = disk {
            return self.interrupt(shared, now, reason);
        }
        if let Some((_, since)) = self.interrupted
            && now < since + RETRY
        {
            return false;
        }
        let mut is_new = false;
        for key in ready {
            match self.write(shared, now, &key) {
                Ok(began) => is_new |= began,
                Err(error) => {
                    let reason = error.reason();
                    // Somebody took it away: it is made anew.
                    if self.has_folder && !shared.storage.exists(&self.folder) {
                        self.leave_closed(shared);
                    }
                    tracing::warn!(recording = %self.manifest.id, %error, "cannot write a recording");
                    return self.interrupt(shared, now, reason);
                }
            }
        }
        if !shared.keeper.is_stalled()
            && let Some((reason, since)) = self.interrupted.take()
        {
            is_new = true;
            let lasted_ms = now.saturating_duration_since(since).as_millis() as u64;
            self.event(shared, now, serde_json::json!({"type": "disk-back", "reason": reason, "lasted_ms": lasted_ms}));
        }
        is_new
    }

    /// Each second: what was written is made durable, levels are kept, files that were taken away are begun anew.
    pub fn on_second(&mut self, shared: &Shared, now: Instant) {
        let (mut lost, mut gaps) = (Vec::new(), Vec::new());
        let mut has_failed = false;
        for (key, source) in &mut self.sources {
            let Some(segment) = &mut source.segment else { continue };
            if segment.is_lost(&*shared.storage) {
                lost.push(key.clone());
                continue;
            }
            let (job, failed) = segment.sync_job();
            has_failed |= failed;
            let levels = if shared.keeper.is_behind() { None } else { segment.levels_job() };
            for job in job.into_iter().chain(levels) {
                shared.keep(job);
            }
            gaps.push((key.clone(), segment.new_gaps(false)));
        }
        self.tell_gaps(shared, now, &gaps);
        // What is written but cannot be made durable is not safe.
        if has_failed || (self.has_begun() && shared.keeper.is_stalled()) {
            self.interrupt(shared, now, "io-error");
        }
        if !lost.is_empty() {
            self.leave(shared, now, lost);
        }
    }

    /// Brings the manifest up to date, keeps and tells it.
    pub fn publish(&mut self, shared: &Shared, now: Instant) {
        let (duration, _) = self.progress(shared, now);
        self.manifest.duration_ms = duration;
        for source in self.sources.values_mut() {
            let Some(segment) = &mut source.segment else { continue };
            segment.refresh();
            if let Some(entry) = self.manifest.files.iter_mut().find(|entry| entry.file == segment.entry.file) {
                entry.clone_from(&segment.entry);
            }
        }
        if self.has_folder {
            shared.keep(Job::Manifest(self.folder.clone(), Box::new(self.manifest.clone())));
        }
    }

    /// Whose video should be asked for a keyframe.
    pub fn keyframes_wanted(&mut self, now: Instant) -> Vec<(ParticipantId, Source)> {
        let wants = |source: &mut SourceState| source.segment.as_mut().is_some_and(|s| s.feed.wants_keyframe(now));
        self.sources.iter_mut().filter_map(|(key, source)| wants(source).then(|| key.clone())).collect()
    }

    /// Cuts all files at this instant.
    pub fn pause(&mut self, shared: &Shared, now: Instant) {
        let at_us = shared.us(now);
        if self.cuts.pause(at_us) {
            let at_ms = self.t_ms(self.cuts.floor(at_us).us());
            self.manifest.pauses.push(Pause { at_ms, lasted_ms: None });
            self.share_cuts();
            if self.has_begun() {
                self.manifest.state = RecordingStatus::Paused;
            }
            self.publish(shared, now);
        }
    }

    /// Goes on in the same files.
    pub fn resume(&mut self, shared: &Shared, now: Instant) {
        let at_us = shared.us(now);
        let Some(cut) = self.cuts.paused_since().filter(|_| self.cuts.resume(at_us)) else { return };
        if let Some(pause) = self.manifest.pauses.last_mut() {
            pause.lasted_ms = Some((at_us - cut).max(0) as u64 / 1000);
        }
        self.share_cuts();
        if self.has_begun() {
            self.manifest.state = RecordingStatus::Recording;
        }
        self.publish(shared, now);
    }

    /// The person withdrew: nothing more of theirs until they agree again.
    pub fn withdraw(&mut self, now: Instant, id: &ParticipantId) {
        for (_, source) in self.sources.iter_mut().filter(|((owner, _), _)| owner == id) {
            if let Some(segment) = &mut source.segment {
                segment.feed.withdraw(now);
            }
        }
    }

    /// Somebody is part of it, or went.
    pub fn on_person(&mut self, shared: &Shared, now: Instant, change: PersonChange) {
        let at_ms = self.t_ms(self.cuts.floor(shared.us(now)).us());
        match change {
            PersonChange::Left(id) => {
                if let Some(person) = self.manifest.participants.iter_mut().find(|person| person.id == id) {
                    person.left_ms = Some(at_ms);
                }
            }
            PersonChange::There { id, person, name, recorded } => {
                for entry in self.manifest.files.iter_mut().filter(|entry| entry.participant == id && recorded) {
                    (entry.person, entry.name) = (person.clone(), name.clone());
                }
                match self.manifest.participants.iter_mut().find(|known| known.id == id) {
                    // Who withdrew stays named where they were recorded.
                    Some(known) if !recorded => known.recorded = false,
                    Some(known) => (known.person, known.name, known.recorded) = (person, name, true),
                    None => {
                        let there = Person { id, person, name, recorded, joined_ms: at_ms, left_ms: None };
                        self.manifest.participants.push(there);
                    }
                }
            }
        }
        if self.has_folder {
            self.publish(shared, now);
        }
    }

    /// A line for the list of events.
    pub fn event(&mut self, shared: &Shared, now: Instant, event: Value) {
        let server_us = shared.us(now);
        let at_us = self.cuts.floor(server_us).us();
        if self.has_folder {
            self.write_events(shared, vec![(event, at_us, server_us)]);
        } else if self.early.len() < MAX_EARLY {
            self.early.push((event, at_us, server_us));
        }
    }

    /// A source does not come back.
    pub fn end_source(
        &mut self,
        shared: &Shared,
        now: Instant,
        id: &ParticipantId,
        from: Source,
        reason: &'static str,
    ) {
        let key = (id.clone(), from);
        self.close_segment(shared, now, &key, reason);
        self.sources.remove(&key);
    }

    /// Closes all files. Gives the manifest if anything is on disk.
    pub fn close(mut self, shared: &Shared, now: Instant, reason: &'static str) -> Option<Manifest> {
        // What waited for the disk goes in now, or not; that is how the recording ends.
        self.interrupted = None;
        if self.has_folder && !shared.storage.exists(&self.folder) {
            self.leave_closed(shared);
        }
        self.close_segments(shared, now, reason);
        if !self.has_folder && !self.has_begun() && !self.has_draft {
            return None;
        }
        self.manifest.duration_ms = self.manifest.length_ms();
        self.manifest.ended_at = Some(shared.wall.text(shared.us(now)));
        if let Some(pause) = self.manifest.pauses.last_mut().filter(|pause| pause.lasted_ms.is_none()) {
            pause.lasted_ms = self.cuts.paused_since().map(|cut| (shared.us(now) - cut).max(0) as u64 / 1000);
        }
        self.manifest.state = match self.interrupted {
            Some((reason, _)) => {
                self.manifest.reason = Some(reason.to_owned());
                RecordingStatus::Interrupted
            }
            None if !self.away.is_empty() => {
                self.manifest.reason = Some("io-error".to_owned());
                RecordingStatus::Interrupted
            }
            None if self.manifest.files.is_empty() => RecordingStatus::Failed,
            None => RecordingStatus::Complete,
        };
        self.manifest.files.sort_by_key(|entry| entry.offset_ms);
        self.event(shared, now, serde_json::json!({"type": "finished", "state": self.manifest.state}));
        // Without a folder these are told all the same.
        let early = std::mem::take(&mut self.early);
        self.write_events(shared, early);
        shared.keep(Job::Manifest(self.folder.clone(), Box::new(self.manifest.clone())));
        shared.keep(Job::Then(self.folder.clone(), Later::Hash(self.folder.clone())));
        Some(self.manifest)
    }

    fn tell_gaps(&mut self, shared: &Shared, now: Instant, gaps: &[((ParticipantId, Source), Vec<Gap>)]) {
        for ((participant, source), gaps) in gaps {
            let listed = self.manifest.participants.iter().find(|person| person.id == *participant);
            let person = listed.map(|person| person.person.clone()).unwrap_or_default();
            for gap in gaps {
                let event = serde_json::json!({
                    "type": "gap", "participant": participant, "person": person, "source": source, "kind": gap.kind,
                    "from_ms": gap.from_ms, "lasted_ms": gap.to_ms - gap.from_ms, "reason": gap.cause,
                });
                self.event(shared, now, event);
            }
        }
    }

    /// Something refuses to be written. True when that is news.
    fn interrupt(&mut self, shared: &Shared, now: Instant, reason: &'static str) -> bool {
        let is_news = self.interrupted.is_none_or(|(known, _)| known != reason);
        let since = self.interrupted.map_or(now, |(_, since)| since);
        self.interrupted = Some((reason, if is_news { now } else { since }));
        if is_news {
            self.event(shared, now, serde_json::json!({"type": "interrupted", "reason": reason}));
        }
        is_news
    }

    fn t_ms(&self, at_us: i64) -> u64 {
        let origin = self.origin.map_or(at_us, |(origin, _)| origin);
        (at_us - origin).max(0) as u64 / 1000
    }

    fn share_cuts(&mut self) {
        for source in self.sources.values_mut() {
            if let Some(segment) = &mut source.segment {
                segment.feed.set_cuts(self.cuts.clone());
            }
        }
    }
}

/// How long after a failure the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How much earlier than its first packet a file may begin.
const EARLIER_US: i64 = 20_000;
const MAX_EARLY: usize = 4_096;

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
