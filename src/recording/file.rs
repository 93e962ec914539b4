//! One WebM file while it is written: clusters, their sizes, the sidecar index, and the close. The file plays at every
//! instant; a write that fails loses nothing that was written before, and may be tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reelay_signaling::Kind;
use ring::digest::{Context, SHA256};

use super::cluster::{Cluster, Noted};
use super::finish::Ending;
use super::sidecar::Sidecar;
use super::storage::{Storage, StorageError, StorageFile, write_all_at};
use crate::webm::cues::Cues;
use crate::webm::elements::{self, BlockHead, Entries};
use crate::webm::layout::*;
use crate::webm::tally::{Counted, Tally};
use crate::webm::{self, Header, VideoCodec};

/// One frame or packet.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Audio or video.
    pub kind: Kind,
    /// Time since the beginning of the file; never earlier than the block before, in any track.
    pub time_ms: u64,
    /// For video: decodable on its own. Ignored for audio.
    pub keyframe: bool,
    /// Put in by the recorder, not received.
    pub fill: bool,
    /// VP8 or VP9 frame, AV1 temporal unit without delimiter, or Opus packet.
    pub data: &'a [u8],
    /// Width and height of a keyframe; read from VP8 and VP9 when not given.
    pub size: Option<(u16, u16)>,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the file, at this time.
    At(u64),
    /// It can not be in this file: its track is not declared, it is empty or over 16 MiB, or no keyframe came before it.
    Skipped,
}

/// What was written so far, or in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks, bytes and times of each track.
    pub tally: Tally,
    /// Length of the file, with what waits for the next flush.
    pub bytes: u64,
    /// Clusters begun.
    pub clusters: u64,
    /// Clusters begun without a keyframe because the one before grew too long.
    pub forced_clusters: u64,
    /// Blocks whose time was moved so that times never go back.
    pub clamped: u64,
    /// Blocks that could not be in the file.
    pub skipped: u64,
    /// False after a sync failed: what was written before it may be lost by a power cut.
    pub is_durable: bool,
}

/// A file that was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Its final path.
    pub path: PathBuf,
    /// Length in milliseconds, to the end of the last block.
    pub duration_ms: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What was written.
    pub stats: Stats,
    /// True if the last flush failed and what it held (40 ms as a rule) was dropped.
    pub cut: bool,
}

/// A growing WebM file, `<name>.webm.part` until it is closed.
pub struct SegmentFile {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    sidecar: Sidecar,
    codec: VideoCodec,
    entries: Entries,
    /// Offset of the first byte that is not written yet.
    written: u64,
    /// What follows there.
    pending: Vec<u8>,
    /// Slots of the header to be written with the next flush.
    patches: Vec<(u64, Vec<u8>)>,
    now: Progress,
    /// As of the last flush that succeeded.
    flushed: Progress,
    cues: Cues,
    twin: Option<Twin>,
    dir_is_synced: bool,
}

/// The first block of video once more, when it is a fill. Fills come each second, and ffmpeg takes the distance of the first
/// frames for the frame rate: without the twin it would convert the whole file at one frame a second.
struct Twin {
    time_ms: u64,
    data: Vec<u8>,
    size: Option<(u16, u16)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    stats: Stats,
    open: Option<Cluster>,
    last_ms: u64,
    has_keyframe: bool,
}

impl SegmentFile {
    /// Makes `<path>.part` (or `path` itself if it ends so already) and writes everything before the first cluster.
    ///
    /// # Errors
    /// The disk's; nothing is left behind then.
    pub fn create(storage: Arc<dyn Storage>, path: &Path, header: &Header) -> Result<Self, StorageError> {
        let path = webm::part_path(path);
        let front = header.encode([track_uid(&path, VIDEO_TRACK), track_uid(&path, AUDIO_TRACK)]);
        let file = storage.create(&path)?;
        if let Err(error) = write_all_at(&*file, 0, &front.bytes) {
            let _ = storage.remove(&path);
            return Err(error.into());
        }
        let stats = Stats { bytes: FIRST_CLUSTER_AT, is_durable: true, ..Stats::default() };
        let now = Progress { stats, ..Progress::default() };
        Ok(Self {
            sidecar: Sidecar::create(storage.clone(), &path),
            storage,
            path,
            file,
            codec: header.video.map_or(VideoCodec::Vp8, |video| video.codec),
            entries: front.entries,
            written: FIRST_CLUSTER_AT,
            pending: Vec::new(),
            patches: Vec::new(),
            now,
            flushed: now,
            cues: Cues::default(),
            twin: None,
            dir_is_synced: false,
        })
    }

    /// Puts a block behind the last one. It reaches the disk with the next [`flush`](Self::flush), or at once when a cluster
    /// ends or much waits.
    ///
    /// # Errors
    /// The disk's. The block is not taken then; it, or a later one, may be tried again.
    pub fn write(&mut self, block: Block<'_>) -> Result<Written, StorageError> {
        if !self.can_hold(&block) {
            self.now.stats.skipped += 1;
            return Ok(Written::Skipped);
        }
        if let Some(twin) = self.twin.take_if(|twin| block.time_ms >= twin.time_ms)
            && (block.kind == Kind::Audio || block.time_ms >= twin.time_ms + TWIN_MS)
        {
            let Twin { time_ms, data, size } = &twin;
            self.put(Block { kind: Kind::Video, time_ms: *time_ms, keyframe: true, fill: true, data, size: *size })?;
        }
        if block.kind == Kind::Video && block.fill && self.now.stats.tally.video.blocks == 0 {
            self.twin = Some(Twin { time_ms: block.time_ms + TWIN_MS, data: block.data.to_vec(), size: block.size });
        }
        self.put(block)
    }

    fn put(&mut self, block: Block<'_>) -> Result<Written, StorageError> {
        let is_video = block.kind == Kind::Video;
        let keyframe = block.keyframe || !is_video;
        if self.pending.len() >= MAX_PENDING {
            self.flush()?;
        }
        let time_ms = self.next_time(&block);
        if let Some(begin) = self.begin_cluster(&block, time_ms) {
            self.align();
            self.end_cluster()?;
            self.start_cluster(time_ms, begin);
        }
        let Some(open) = &mut self.now.open else { return Ok(Written::Skipped) };

        let head = BlockHead {
            track: if is_video { VIDEO_TRACK } else { AUDIO_TRACK },
            relative_ms: i16::try_from(time_ms - open.time_ms()).unwrap_or(i16::MAX),
            keyframe,
        };
        let before = self.pending.len();
        if is_video && block.fill {
            elements::push_fill_block(&mut self.pending, head, block.data);
        } else {
            elements::push_simple_block(&mut self.pending, head, block.data);
        }
        let data_end = self.pending.len() as u64 - if is_video && block.fill { FILL_TAIL_LEN } else { 0 };
        let data_len = block.data.len() as u64;
        let data_at = self.written + data_end - data_len;
        open.note(Noted { kind: block.kind, keyframe, fill: block.fill, head: block.data, data_at, data_len });
        self.now.stats.bytes += (self.pending.len() - before) as u64;
        self.now.stats.clamped += u64::from(time_ms != block.time_ms);
        self.now.last_ms = time_ms;
        self.now.has_keyframe |= is_video;
        let counted = Counted {
            kind: block.kind,
            time_ms,
            keyframe,
            fill: block.fill,
            head: block.data,
            len: block.data.len() as u64,
            size: block.size,
        };
        if let (Some((width, height)), Some(entry)) =
            (self.now.stats.tally.add(counted, self.codec), self.entries.video)
        {
            self.patch_header(entry + PICTURE_SIZE_IN_ENTRY, &elements::picture_size(width, height));
        }
        Ok(Written::At(time_ms))
    }

    /// Gives an AV1 track its `av1C` record. Without it the file plays in few players.
    ///
    /// Returns false if the file has no room for it: no AV1 track, or more than 123 bytes.
    pub fn set_codec_private(&mut self, data: &[u8]) -> bool {
        let (Some(entry), VideoCodec::Av1) = (self.entries.video, self.codec) else { return false };
        let Some(image) = elements::codec_private(data) else { return false };
        let at = entry + PRIVATE_IN_ENTRY;
        // The body first: the room is a Void until its head is written.
        self.patch_header(at + 3, &image[3..]);
        self.patch_header(at, &image[..3]);
        true
    }

    /// Writes what waits: one write, plus one for each slot of the header that changed.
    ///
    /// # Errors
    /// The disk's. What waits is kept and tried again with the next flush.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        for (at, bytes) in &self.patches {
            write_all_at(&*self.file, *at, bytes)?;
        }
        self.patches.clear();
        if !self.pending.is_empty() {
            write_all_at(&*self.file, self.written, &self.pending)?;
            self.written += self.pending.len() as u64;
            self.pending.clear();
            self.pending.shrink_to(KEPT_BUFFER);
        }
        if let Some(point) = self.now.open.as_mut().and_then(Cluster::take_cue) {
            self.cues.push(point);
        }
        self.flushed = self.now;
        self.sidecar.flush();
        Ok(())
    }

    /// Flushes, and makes it durable. A power cut loses at most what came after.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        if !self.storage.exists(&self.path) {
            // The folder was taken away: what is written now, nobody will find.
            return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
        }
        if let Err(error) = self.file.sync_data() {
            self.now.stats.is_durable = false;
            self.flushed.stats.is_durable = false;
            return Err(error.into());
        }
        if !self.dir_is_synced {
            self.storage.sync_dir(parent(&self.path))?;
            self.dir_is_synced = true;
        }
        Ok(())
    }

    /// What was written so far.
    pub fn stats(&self) -> &Stats {
        &self.now.stats
    }

    /// The open file, for a helper that makes it durable.
    pub fn handle(&self) -> Arc<dyn StorageFile> {
        self.file.clone()
    }

    /// The path while it grows.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the file: sizes, index and duration go into their slots, then it gets its final name. Needs no free space.
    /// A file without a block is removed, and `None` comes back.
    ///
    /// # Errors
    /// The disk's. The file stays as `.part` and plays; [`repair`](super::file) ends it later.
    pub fn close(mut self) -> Result<Option<Closed>, StorageError> {
        let cut = self.flush().is_err();
        if cut {
            self.roll_back()?;
        }
        if self.now.stats.tally.blocks() == 0 {
            self.storage.remove(&self.path)?;
            self.sidecar.remove();
            self.storage.sync_dir(parent(&self.path))?;
            return Ok(None);
        }
        self.end_cluster()?;
        self.file.sync_data()?;
        let stats = self.now.stats;
        Ending { end: self.written, tally: &stats.tally, cues: &self.cues, entries: self.entries, codec_private: None }
            .write(&*self.file)?;
        self.file.sync_data()?;
        self.sidecar.close();
        let path = webm::final_path(&self.path);
        if self.storage.exists(&path) {
            return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists).into());
        }
        self.storage.rename(&self.path, &path)?;
        self.storage.sync_dir(parent(&path))?;
        Ok(Some(Closed { path, duration_ms: stats.tally.duration_ms(), bytes: self.written, stats, cut }))
    }

    fn can_hold(&self, block: &Block<'_>) -> bool {
        let (entry, is_decodable) = match block.kind {
            Kind::Video => (self.entries.video, block.keyframe || (self.now.has_keyframe && !block.fill)),
            Kind::Audio => (self.entries.audio, true),
        };
        entry.is_some() && is_decodable && !block.data.is_empty() && block.data.len() <= MAX_BLOCK
    }

    /// Times never go back over the whole file, and grow inside a track: a reversal is fatal to Media Source Extensions.
    fn next_time(&self, block: &Block<'_>) -> u64 {
        let track = self.now.stats.tally.track(block.kind);
        let after_track = if track.blocks == 0 { 0 } else { track.last_ms + 1 };
        block.time_ms.max(self.now.last_ms).max(after_track)
    }

    /// Whether the block begins a cluster, and why.
    fn begin_cluster(&self, block: &Block<'_>, time_ms: u64) -> Option<Begin> {
        let Some(open) = &self.now.open else { return Some(Begin::Regular) };
        let age_ms = time_ms - open.time_ms();
        let len = self.now.stats.bytes - open.at();
        let is_key = block.kind == Kind::Video && block.keyframe;
        if is_key && (!block.fill || age_ms >= FILL_CLUSTER_MS) {
            return Some(Begin::Regular);
        }
        if !open.has_video() && age_ms >= AUDIO_CLUSTER_MS {
            return Some(Begin::Regular);
        }
        (age_ms >= MAX_CLUSTER_MS || len + block.data.len() as u64 > MAX_CLUSTER_LEN).then_some(Begin::Forced)
    }

    fn start_cluster(&mut self, time_ms: u64, begin: Begin) {
        let at = self.written + self.pending.len() as u64;
        let stats = &mut self.now.stats;
        let wants_keyframe = stats.tally.video.blocks > 0;
        stats.clusters += 1;
        stats.forced_clusters += u64::from(begin == Begin::Forced);
        self.now.open = Some(Cluster::new(at, time_ms, wants_keyframe));
        elements::push_cluster_start(&mut self.pending, time_ms);
        stats.bytes = self.written + self.pending.len() as u64;
    }

    /// Writes the rest of the open cluster, then its size, then its row of the index.
    fn end_cluster(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        let Some(open) = &self.now.open else { return Ok(()) };
        let row = open.row(self.written);
        let size = elements::size_8(self.written - open.at() - CLUSTER_HEAD_LEN);
        write_all_at(&*self.file, open.at() + CLUSTER_SIZE_IN_CLUSTER, &size)?;
        self.sidecar.push(&row);
        self.now.open = None;
        self.flushed = self.now;
        Ok(())
    }

    /// Moves the next cluster so that its size, which is patched, lies in one sector.
    fn align(&mut self) {
        if self.now.open.is_none() {
            return;
        }
        let size_at = self.written + self.pending.len() as u64 + CLUSTER_SIZE_IN_CLUSTER;
        if !in_one_sector(size_at, 8) {
            let gap = (SECTOR - size_at % SECTOR).max(2);
            elements::push_void(&mut self.pending, gap as usize);
            self.now.stats.bytes += gap;
        }
    }

    fn patch_header(&mut self, at: u64, bytes: &[u8]) {
        self.patches.push((at, bytes.to_vec()));
    }

    /// Gives up what the last flush could not write.
    fn roll_back(&mut self) -> Result<(), StorageError> {
        self.pending.clear();
        self.now = self.flushed;
        self.file.set_len(self.written)?;
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    Regular,
    Forced,
}

/// By the file's name and its folder's, which nothing else has: the same call gives the same bytes.
fn track_uid(path: &Path, track: u8) -> u64 {
    let mut name = Context::new(&SHA256);
    for part in [parent(path).file_name(), path.file_name()].into_iter().flatten() {
        name.update(part.as_encoded_bytes());
        name.update(b"/");
    }
    name.update(&[track]);
    name.finish().as_ref().iter().take(8).fold(0, |uid, byte| uid << 8 | u64::from(*byte))
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// While video lives a cluster begins at a keyframe only; this is when it has to end without one.
const MAX_CLUSTER_MS: u64 = 20_000;
const MAX_CLUSTER_LEN: u64 = 8 * 1024 * 1024;
/// Length of a cluster that has no video.
const AUDIO_CLUSTER_MS: u64 = 5_000;
/// Fill keyframes come each second; several of them share a cluster.
const FILL_CLUSTER_MS: u64 = 5_000;
/// 50 frames a second: more than cameras give, and little enough to convert.
const TWIN_MS: u64 = 20;
const MAX_BLOCK: usize = 16 * 1024 * 1024;
const MAX_PENDING: usize = 1024 * 1024;
const KEPT_BUFFER: usize = 64 * 1024;
/// BlockDuration behind the data of a fill keyframe.
const FILL_TAIL_LEN: u64 = 4;
