//! One file of a recording while it grows: the feed that makes its blocks, the file they go into, and its entry in the
//! manifest. A disk that refuses loses nothing at first: blocks wait, up to a limit, and the same file goes on later.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metrics::Counter;
use reelay_signaling::Kind;

use super::feed::Feed;
use super::file::{self, SegmentFile, Written};
use super::keeper::Job;
use super::lane::Block;
use super::levels::Levels;
use super::manifest::{AudioInfo, Gap, SegmentEntry, VideoInfo};
use super::report::Report;
use super::storage::{Storage, StorageError, StorageFile};
use crate::rtp::Codec;
use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack, index, part_path};

/// A file that grows.
pub struct Segment {
    /// Makes the blocks.
    pub feed: Feed,
    /// As the manifest shows it; numbers are filled in by [`refresh`](Self::refresh).
    pub entry: SegmentEntry,
    path: PathBuf,
    channels: u8,
    file: Option<SegmentFile>,
    backlog: VecDeque<Block>,
    backlog_bytes: usize,
    levels: Levels,
    report: Report,
    sync: Option<SyncHandle>,
    counts: Counts,
    gaps_told: usize,
    written: Counter,
    /// When what it holds was last kept as a draft.
    drafted: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: u64,
    real_video: u64,
    real_audio: u64,
    write_errors: u64,
    has_private: bool,
}

struct SyncHandle {
    file: Arc<dyn StorageFile>,
    busy: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
}

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has its final name.
    Closed,
    /// It never had a block.
    Empty,
    /// The disk refuses; a later start repairs it.
    Unfinished(&'static str),
}

impl Segment {
    /// A file that is to be made in `folder` with its first block.
    pub fn new(feed: Feed, entry: SegmentEntry, folder: &Path, channels: u8) -> Self {
        let path = folder.join(&entry.file);
        Self {
            feed,
            entry,
            path,
            channels,
            file: None,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            levels: Levels::default(),
            report: Report::default(),
            sync: None,
            counts: Counts::default(),
            gaps_told: 0,
            written: metrics::counter!("recording_bytes_written_total"),
            drafted: None,
        }
    }

    /// Time passes: takes the blocks that are ready. True when some wait to be written, all of them with one write.
    pub fn gather(&mut self, now: Instant) -> bool {
        self.feed.on_time(now);
        while let Some(block) = self.feed.poll(now) {
            self.hold(block);
        }
        !self.backlog.is_empty()
    }

    /// Writes what waits. `date_ms` is the wall clock's time of the file's first block.
    ///
    /// # Errors
    /// The disk's; what was not written waits.
    pub fn write(&mut self, storage: &Arc<dyn Storage>, date_ms: i64) -> Result<(), StorageError> {
        let bytes = |segment: &Self| segment.file.as_ref().map_or(0, |file| file.stats().bytes);
        let before = bytes(self);
        let result = self.try_write(storage, date_ms);
        self.written.increment(bytes(self).saturating_sub(before));
        if result.is_err() {
            self.counts.write_errors += 1;
            metrics::counter!("recording_write_errors_total").increment(1);
        }
        result
    }

    /// What it holds so far, now and then while it has not begun: its first frames wait until the sender's clock is known,
    /// and a kill of the process would leave nothing of them. `None` when there is nothing to keep.
    pub fn draft(&mut self, now: Instant) -> Option<Self> {
        let is_due = self.drafted.is_none_or(|at| now.saturating_duration_since(at) >= DRAFT_EVERY);
        if !is_due || self.file.is_some() || !self.backlog.is_empty() {
            return None;
        }
        self.drafted = Some(now);
        let mut draft = Self::new(self.feed.clone(), self.entry.clone(), Path::new(""), self.channels);
        draft.path = draft_path(&self.path);
        draft.feed.finish(now);
        draft.settle().then_some(draft)
    }

    /// Puts a draft where the start after a crash finds it, as a whole. `date_ms` as for [`write`](Self::write).
    ///
    /// # Errors
    /// The disk's.
    pub fn keep(mut self, storage: &Arc<dyn Storage>, date_ms: i64) -> Result<(), StorageError> {
        let part = part_path(&self.path);
        storage.remove(&part)?;
        self.try_write(storage, date_ms)?;
        storage.remove(&index::path_of(&self.path))?;
        Ok(storage.rename(&part, &self.path)?)
    }

    /// True once a block is on its way to the disk.
    pub fn has_begun(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.stats().tally.blocks() > 0)
    }

    /// How much is in the file.
    pub fn duration_ms(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.stats().tally.duration_ms())
    }

    /// True when the file on disk was taken away under us, or something else lies over it.
    pub fn is_lost(&self, storage: &dyn Storage) -> bool {
        self.file.as_ref().is_some_and(|file| !storage.leads_to(file.path(), &*file.handle()))
    }

    /// Leaves a file that was taken away: what is held goes in if that can be, and it stays unfinished. Gives its entry,
    /// the holes that were not told of yet, and what makes it durable.
    pub fn leave(
        mut self,
        now: Instant,
        storage: &Arc<dyn Storage>,
        date_ms: i64,
    ) -> (SegmentEntry, Vec<Gap>, Option<Job>) {
        self.feed.finish(now);
        self.settle();
        if self.write(storage, date_ms).is_err() {
            self.drop_backlog();
        }
        self.refresh();
        let gaps = self.new_gaps(true);
        let (sync, _) = self.sync_job();
        (self.entry, gaps, sync)
    }

    /// Lets a helper make it durable, unless the last time still runs. Gives the job, and true when the last one failed.
    pub fn sync_job(&mut self) -> (Option<Job>, bool) {
        let Some(sync) = &self.sync else { return (None, false) };
        let has_failed = sync.failed.swap(false, Ordering::Relaxed);
        self.counts.write_errors += u64::from(has_failed);
        if sync.busy.swap(true, Ordering::Relaxed) {
            return (None, has_failed);
        }
        let (file, busy, failed) = (sync.file.clone(), sync.busy.clone(), sync.failed.clone());
        (Some(Job::Sync { file, busy, failed }), has_failed)
    }

    /// Levels that were not kept yet, and the file they belong to.
    pub fn levels_job(&mut self) -> Option<Job> {
        let ready = self.levels.take();
        (!ready.is_empty()).then(|| Job::Append(self.levels_path(), ready))
    }

    /// Holes that were not told of yet, in recorded time. At the end also one that may still grow.
    pub fn new_gaps(&mut self, is_over: bool) -> Vec<Gap> {
        let (written, offset_ms) = (self.duration_ms(), self.entry.offset_ms);
        let gaps = self.feed.gaps();
        let is_settled = |gap: &&Gap| is_over || gap.to_ms + SETTLED_MS <= written;
        let settled: Vec<&Gap> = gaps.iter().skip(self.gaps_told).take_while(is_settled).collect();
        self.gaps_told += settled.len();
        let is_news = |gap: &&&Gap| gap.to_ms >= gap.from_ms + SHORTEST_GAP_MS;
        let in_recording =
            |gap: &Gap| Gap { from_ms: offset_ms + gap.from_ms, to_ms: offset_ms + gap.to_ms, ..gap.clone() };
        settled.iter().filter(is_news).map(|gap| in_recording(gap)).collect()
    }

    /// Brings the entry up to date.
    pub fn refresh(&mut self) {
        let Some(file) = &self.file else { return };
        let stats = *file.stats();
        let entry = &mut self.entry;
        entry.duration_ms = stats.tally.duration_ms();
        entry.bytes = stats.bytes;
        let shape = self.feed.shape();
        entry.video = shape.video.filter(|_| self.counts.real_video > 0).map(|codec| {
            let (width, height) = self.report.largest().or(stats.tally.size).unwrap_or_default();
            VideoInfo { codec: codec.name().to_lowercase(), width: width.into(), height: height.into() }
        });
        entry.audio = (shape.audio && self.counts.real_audio > 0)
            .then(|| AudioInfo { codec: "opus".into(), channels: self.channels });
        entry.sync = Some(if self.feed.is_by_reports() { "sender-reports" } else { "arrival" }.into());
        entry.gaps = self.feed.gaps();
        entry.report = Some(self.report.clone());
        let feed = self.feed.counters();
        let (clock, timeline) = (self.feed.clock(), self.feed.timeline());
        let counters = [
            ("packets", feed.packets),
            ("audio_missing", feed.audio.missing),
            ("audio_repaired", feed.audio.repaired),
            ("audio_lost", feed.audio.lost),
            ("audio_late", feed.audio.late),
            ("audio_malformed", feed.audio.malformed),
            ("video_missing", feed.video.missing),
            ("video_repaired", feed.video.repaired),
            ("video_lost", feed.video.lost),
            ("video_late", feed.video.late),
            ("video_malformed", feed.video.malformed),
            ("video_skipped", feed.video.skipped + timeline.undecodable),
            ("duplicates", feed.audio.duplicates + feed.video.duplicates),
            ("restarts", feed.audio.restarts + feed.video.restarts),
            ("overflow_packets", feed.overflow),
            ("ssrc_changes", feed.ssrc_changes),
            ("freezes", feed.freezes),
            ("freeze_ms", feed.freeze_us as u64 / 1000),
            ("freeze_max_ms", feed.freeze_max_us as u64 / 1000),
            ("keyframe_requests", self.feed.keyframe_requests()),
            ("filled_audio_ms", timeline.filled_audio_us as u64 / 1000),
            ("filled_video", timeline.filled_video),
            ("clamps", timeline.clamps + stats.clamped),
            ("clamp_max_ms", timeline.clamp_max_ms),
            ("overlaps", timeline.overlaps),
            ("surplus", timeline.surplus),
            ("reports", clock.reports),
            ("reports_rejected", clock.rejected),
            ("clock_steps", clock.steps),
            ("clock_jumps", clock.jumps),
            ("av_offset_max_ms", clock.av_offset_max_us / 1000),
            ("video_frames", self.counts.real_video),
            ("audio_packets", self.counts.real_audio),
            ("clusters", stats.clusters),
            ("forced_clusters", stats.forced_clusters),
            ("blocks_dropped", self.counts.dropped + stats.skipped),
            ("write_errors", self.counts.write_errors),
        ];
        entry.counters = counters.into_iter().filter(|(_, n)| *n > 0).map(|(k, n)| (k.to_owned(), n)).collect();
    }

    /// Ends the file: everything that is held goes in, then it gets its final name.
    pub fn close(mut self, now: Instant, storage: &Arc<dyn Storage>, date_ms: i64) -> (SegmentEntry, Ended, Vec<Job>) {
        self.feed.finish(now);
        while let Some(block) = self.feed.drain() {
            self.hold(block);
        }
        let mut ended = match self.write(storage, date_ms) {
            Ok(()) => Ended::Closed,
            Err(error) => Ended::Unfinished(error.reason()),
        };
        self.refresh();
        for (name, value) in self.entry.counters.iter().filter(|(name, _)| !name.contains("_max_")) {
            metrics::counter!(format!("recorded_{name}_total")).increment(*value);
        }
        let levels = self.levels.finish();
        let mut jobs = Vec::new();
        match self.file.take().map(SegmentFile::close) {
            None | Some(Ok(None)) => {
                ended = Ended::Empty;
                // What could not be written stays in it.
                if self.backlog.is_empty() {
                    self.remove_draft(&**storage);
                }
            }
            Some(Ok(Some(closed))) => {
                self.entry.duration_ms = closed.duration_ms;
                self.entry.bytes = closed.bytes;
                self.entry.open = false;
            }
            Some(Err(error)) => ended = Ended::Unfinished(error.reason()),
        }
        if ended != Ended::Empty && !levels.is_empty() {
            jobs.push(Job::Append(self.levels_path(), levels));
        }
        (self.entry, ended, jobs)
    }

    /// At the end of a feed that is finished: takes all that it holds. True when that is anything.
    pub fn settle(&mut self) -> bool {
        while let Some(block) = self.feed.drain() {
            self.hold(block);
        }
        !self.backlog.is_empty()
    }

    /// Gives up what waits, because the disk does not come back.
    pub fn drop_backlog(&mut self) {
        self.counts.dropped += self.backlog.len() as u64;
        self.backlog.clear();
        self.backlog_bytes = 0;
        self.feed.require_keyframe();
    }

    fn hold(&mut self, block: Block) {
        if self.backlog_bytes > MAX_BACKLOG {
            self.drop_backlog();
        }
        self.backlog_bytes += block.data.len() + BLOCK_OVERHEAD;
        self.backlog.push_back(block);
    }

    fn try_write(&mut self, storage: &Arc<dyn Storage>, date_ms: i64) -> Result<(), StorageError> {
        if self.file.is_none() {
            if self.backlog.is_empty() {
                return Ok(());
            }
            self.create(storage, date_ms)?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        while let Some(block) = self.backlog.front() {
            if let Some(private) = &block.codec_private
                && !self.counts.has_private
            {
                self.counts.has_private = file.set_codec_private(private);
            }
            let written = file.write(file::Block {
                kind: block.kind,
                time_ms: block.time_ms,
                keyframe: block.is_keyframe,
                fill: block.is_fill,
                data: &block.data,
                size: block.size,
            })?;
            if let Written::At(time_ms) = written {
                self.report.add(time_ms, block);
                if let Some(level) = block.level {
                    self.levels.add(time_ms, level);
                }
                if !block.is_fill {
                    match block.kind {
                        Kind::Video => self.counts.real_video += 1,
                        Kind::Audio => self.counts.real_audio += 1,
                    }
                }
            }
            self.backlog_bytes -= block.data.len() + BLOCK_OVERHEAD;
            self.backlog.pop_front();
        }
        file.flush()?;
        self.remove_draft(&**storage);
        Ok(())
    }

    fn create(&mut self, storage: &Arc<dyn Storage>, date_ms: i64) -> Result<(), StorageError> {
        let shape = self.feed.shape();
        let header = Header {
            video: shape.video.and_then(video_codec).map(|codec| VideoTrack { codec, size: None }),
            audio: shape.audio.then_some(AudioTrack { channels: self.channels }),
            date_ms,
            name: self.entry.source.to_string(),
        };
        let file = SegmentFile::create(storage.clone(), &self.path, &header)?;
        self.sync = Some(SyncHandle { file: file.handle(), busy: Arc::default(), failed: Arc::default() });
        self.file = Some(file);
        Ok(())
    }

    /// What it held is in the file. A draft that stays is removed by the next start.
    fn remove_draft(&mut self, storage: &dyn Storage) {
        if self.drafted.take().is_some() {
            let _ = storage.remove(&draft_path(&self.path));
        }
    }

    fn levels_path(&self) -> PathBuf {
        self.path.with_extension("levels")
    }
}

/// What a file holds that has not begun.
pub fn draft_path(path: &Path) -> PathBuf {
    path.with_extension(DRAFT)
}

fn video_codec(codec: Codec) -> Option<VideoCodec> {
    match codec {
        Codec::Vp8 => Some(VideoCodec::Vp8),
        Codec::Vp9 => Some(VideoCodec::Vp9),
        Codec::Av1 => Some(VideoCodec::Av1),
        Codec::Opus => None,
    }
}

/// In place of `webm`.
pub const DRAFT: &str = "draft";
/// How much waits for a disk that refuses.
const MAX_BACKLOG: usize = 8 << 20;
/// A hole that ends so long before what is written does not grow any more.
const SETTLED_MS: u64 = 1_000;
/// Shorter ones are in the manifest, but nobody has to be told.
const SHORTEST_GAP_MS: u64 = 200;
const BLOCK_OVERHEAD: usize = 96;
const DRAFT_EVERY: Duration = Duration::from_millis(200);
