//! Ends a file that nobody closed, in place: the clusters are found from their constant offset, what follows the last complete
//! block is cut, and the slots are filled by the code of the close. Doing it again changes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reelay_signaling::Kind;

use super::cluster::{Cluster, Noted, is_silence};
use super::file::parent;
use super::finish::{Ending, patch};
use super::sidecar::Sidecar;
use super::storage::{Storage, StorageError, StorageFile, read_full_at, write_all_at};
use crate::rtp::av1;
use crate::webm::cues::Cues;
use crate::webm::ebml::{Children, Head, Source, big_endian};
use crate::webm::elements::{self, Entries};
use crate::webm::layout::*;
use crate::webm::scan::{Block, ClusterHead, Item, OnDamage, Tail, Walker};
use crate::webm::tally::{Counted, Tally};
use crate::webm::{self, VideoCodec};

mod mend;

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// Where the file is now.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
    /// Length in milliseconds.
    pub duration_ms: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Clusters.
    pub clusters: u64,
    /// Blocks, sizes and times of both tracks. Fills of audio are counted by their look.
    pub tally: Tally,
    /// Codec of the video track, if one is declared.
    pub video: Option<VideoCodec>,
    /// When its time 0 was, in milliseconds since 1970, if the header says so.
    pub date_ms: Option<i64>,
    /// Bytes behind the last complete block that were cut.
    pub cut_bytes: u64,
    /// Bytes inside that were no elements and are hidden now.
    pub damaged_bytes: u64,
}

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was whole already.
    Whole,
    /// It is whole now.
    Repaired,
    /// It held no block and was removed.
    Removed,
}

/// Why a file was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Another program made it, or its header is lost.
    #[error("not a recording of this program: {0}")]
    NotOurs(&'static str),
    /// Another program wrote into it.
    #[error("the file was changed by another program at byte {0}")]
    Foreign(u64),
    /// It has no block, and is not one that a server left behind.
    #[error("the file holds no complete block")]
    Empty,
    /// The name without `.part` is taken.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The disk's.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<io::Error> for RepairError {
    fn from(error: io::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// Repairs a file; a `.part` gets its final name, or is removed if it holds no block.
///
/// # Errors
/// What is not ours is left as it is; after an error of the disk the same may be tried again.
pub fn repair(storage: &Arc<dyn Storage>, path: &Path) -> Result<RepairReport, RepairError> {
    repair_with(storage, path, &mut |_, _| {})
}

/// The same; `progress` hears how many bytes of how many were read.
///
/// # Errors
/// As [`repair`].
pub fn repair_with(
    storage: &Arc<dyn Storage>,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RepairReport, RepairError> {
    let file = storage.open(path)?;
    let len = file.size()?;
    let mut front = vec![0; FIRST_CLUSTER_AT as usize];
    let front_len = read_full_at(&*file, 0, &mut front)?;
    front.truncate(front_len);
    let mut changed = false;
    if webm::is_part(path) {
        if mend::is_unborn(&front, len) {
            return removed(&**storage, path);
        }
        changed = mend::mend(&*file, &mut front, len)?;
    }
    let declared = match Declared::read(&front) {
        // The header is back, but there was nothing behind it.
        Err(_) if changed => return removed(&**storage, path),
        declared => declared?,
    };
    let (mut end, mut damaged_bytes) = (len, 0);
    let mut rebuild = Rebuild::new(&*file, declared, Sidecar::rebuild(storage.clone(), path));
    for pass in 1..=MAX_PASSES {
        let to = rebuild.walk(end, progress)?;
        if rebuild.tally.blocks() == 0 {
            if !webm::is_part(path) {
                return Err(RepairError::Empty);
            }
            rebuild.sidecar.remove();
            return removed(&**storage, path);
        }
        if to < end {
            file.set_len(to)?;
            (end, rebuild.changed) = (to, true);
        }
        changed |= rebuild.changed;
        damaged_bytes = rebuild.damaged_bytes.max(damaged_bytes);
        // What hides damage is read as an element the next time; only then nothing changes any more.
        if rebuild.damaged_bytes == 0 || !rebuild.changed || pass == MAX_PASSES {
            break;
        }
        rebuild = Rebuild::new(&*file, declared, Sidecar::rebuild(storage.clone(), path));
    }
    let Rebuild { tally, cues, clusters, mut sidecar, codec_private, .. } = rebuild;
    file.sync_data()?;
    changed |=
        Ending { end, tally: &tally, cues: &cues, entries: declared.entries, codec_private: codec_private.as_deref() }
            .write(&*file)?;
    file.sync_data()?;
    sidecar.close();
    let final_path = webm::final_path(path);
    if final_path != path {
        if storage.exists(&final_path) {
            return Err(RepairError::Exists(final_path));
        }
        storage.rename(path, &final_path)?;
        storage.sync_dir(parent(&final_path))?;
        changed = true;
    }
    Ok(RepairReport {
        path: final_path,
        outcome: if changed { Outcome::Repaired } else { Outcome::Whole },
        duration_ms: tally.duration_ms(),
        bytes: end,
        clusters,
        tally,
        video: declared.codec,
        date_ms: elements::date_in(&front),
        cut_bytes: len - end,
        damaged_bytes,
    })
}

fn removed(storage: &dyn Storage, path: &Path) -> Result<RepairReport, RepairError> {
    storage.remove(path)?;
    storage.remove(&webm::index::path_of(path))?;
    storage.sync_dir(parent(path))?;
    Ok(RepairReport {
        path: path.to_path_buf(),
        outcome: Outcome::Removed,
        duration_ms: 0,
        bytes: 0,
        clusters: 0,
        tally: Tally::default(),
        video: None,
        date_ms: None,
        cut_bytes: 0,
        damaged_bytes: 0,
    })
}

/// What the header declares. Only what never changes after the first write is read.
#[derive(Debug, Clone, Copy)]
struct Declared {
    entries: Entries,
    codec: Option<VideoCodec>,
}

impl Declared {
    fn read(front: &[u8]) -> Result<Self, RepairError> {
        if !begins_like_ours(front) || front.len() < FIRST_CLUSTER_AT as usize {
            return Err(RepairError::NotOurs("it does not begin as those do"));
        }
        let tracks = &front[TRACKS_AT as usize..INDEX_AT as usize];
        let body = Head::parse(tracks)
            .ok()
            .filter(|head| head.id == TRACKS && head.len == TRACKS_HEAD_LEN)
            .and_then(|head| tracks.get(head.len as usize..(head.len + head.size?) as usize))
            .ok_or(RepairError::NotOurs("its tracks are not where those are"))?;
        let mut declared = Self { entries: Entries::default(), codec: None };
        // An entry that a close took out is a Void with the same bytes in it.
        for entry in Children::of(body).filter(|child| child.id == TRACK_ENTRY || child.id == VOID) {
            let value = |id| Children::of(entry.body).find(|child| child.id == id).map(|child| child.body);
            let at = Some(TRACKS_AT + TRACKS_HEAD_LEN + entry.at as u64);
            match value(TRACK_NUMBER).map(big_endian) {
                Some(number) if number == u64::from(VIDEO_TRACK) => {
                    declared.entries.video = at;
                    declared.codec = value(CODEC_ID).and_then(VideoCodec::from_id);
                    // A file of a version without room for it has something else there; of what is, one byte is never torn.
                    let at = declared.codec.map(elements::frame_duration_in_entry);
                    let first = at.and_then(|at| entry.body.get((at - TRACK_ENTRY_HEAD_LEN) as usize));
                    let is_room = first.is_some_and(|id| [VOID as u8, (DEFAULT_DURATION >> 16) as u8].contains(id));
                    declared.entries.frame_duration =
                        declared.entries.video.zip(at).filter(|_| is_room).map(|(entry, at)| entry + at);
                }
                Some(number) if number == u64::from(AUDIO_TRACK) => declared.entries.audio = at,
                _ => {}
            }
        }
        let is_complete = declared.entries.video.is_some() == declared.codec.is_some();
        if !is_complete || (declared.entries.video, declared.entries.audio) == (None, None) {
            return Err(RepairError::NotOurs("its tracks are not those that this program writes"));
        }
        Ok(declared)
    }
}

/// Compares what is the same in every file of ours, as far as `front` goes.
fn begins_like_ours(front: &[u8]) -> bool {
    let header = webm::Header { video: None, audio: None, date_ms: 0, name: String::new() };
    let model = header.encode([1, 1]).bytes;
    let same = |range: std::ops::Range<u64>| {
        let (from, to) = (range.start as usize, (range.end as usize).min(front.len()));
        from >= to || front[from..to] == model[from..to]
    };
    same(0..SEGMENT_SIZE_AT) && same(SEGMENT_DATA_AT..SEEK_CUES_AT) && same(INFO_AT..DURATION_AT)
}

struct Rebuild<'a> {
    file: &'a dyn StorageFile,
    declared: Declared,
    sidecar: Sidecar,
    tally: Tally,
    cues: Cues,
    open: Option<(Cluster, ClusterHead)>,
    clusters: u64,
    /// Where the clusters without a block begin that nothing else followed yet.
    empty_from: Option<u64>,
    damaged_bytes: u64,
    changed: bool,
    /// `av1C`, from the first sequence header.
    codec_private: Option<Vec<u8>>,
}

impl<'a> Rebuild<'a> {
    fn new(file: &'a dyn StorageFile, declared: Declared, sidecar: Sidecar) -> Self {
        Self {
            file,
            declared,
            sidecar,
            tally: Tally::default(),
            cues: Cues::default(),
            open: None,
            clusters: 0,
            empty_from: None,
            damaged_bytes: 0,
            changed: false,
            codec_private: None,
        }
    }

    /// Reads all clusters, puts their sizes right and hides damage. Returns the end of the last complete block.
    fn walk(&mut self, len: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<u64, RepairError> {
        let mut walker = Walker::new(FileSource(self.file), FIRST_CLUSTER_AT, len, OnDamage::Skip);
        let mut told = 0;
        while let Some(item) = walker.next_item()? {
            match item {
                Item::Cluster(head) => {
                    self.end_cluster(head.at)?;
                    let Some(time_ms) = head.time_ms.filter(|_| head.body_at - head.at == CLUSTER_HEAD_LEN) else {
                        return Err(RepairError::Foreign(head.at));
                    };
                    let wants_keyframe = self.tally.video.blocks > 0;
                    self.open = Some((Cluster::new(head.at, time_ms, wants_keyframe), head));
                }
                Item::Block(block) => self.block(&block)?,
                Item::Damage { from, to } => {
                    self.damaged_bytes += to - from;
                    self.hide(from, to)?;
                }
                Item::Other { id: VOID, .. } => {}
                Item::Other { at, .. } | Item::LateTimestamp { at, .. } => return Err(RepairError::Foreign(at)),
            }
            if walker.position() - told >= PROGRESS_STEP {
                told = walker.position();
                progress(told, len);
            }
        }
        debug_assert!(walker.tail().is_none_or(|tail| tail != Tail::Clean || walker.position() >= len));
        progress(len, len);
        // Clusters that hold no complete block go with what is cut.
        self.end_cluster(walker.position())?;
        let end = self.empty_from.unwrap_or(walker.position());
        Ok(end)
    }

    fn block(&mut self, block: &Block) -> Result<(), RepairError> {
        let kind = match block.track {
            track if track == u64::from(VIDEO_TRACK) && self.declared.entries.video.is_some() => Kind::Video,
            track if track == u64::from(AUDIO_TRACK) && self.declared.entries.audio.is_some() => Kind::Audio,
            _ => return Ok(()),
        };
        let size = self.av1_size(kind, block)?;
        let Some((cluster, _)) = &mut self.open else { return Ok(()) };
        let (head, data_at, data_len) = (block.head(), block.data_at, block.data_len);
        let noted = Noted { kind, keyframe: block.keyframe, fill: block.is_fill(), head, data_at, data_len };
        let fill = noted.fill || (kind == Kind::Audio && is_silence(noted));
        cluster.note(noted);
        if let Some(point) = cluster.take_cue() {
            self.cues.push(point);
        }
        let time_ms = block.time_ms.max(0) as u64;
        let counted = Counted { kind, time_ms, keyframe: block.keyframe, fill, head, len: data_len, size };
        self.tally.add(counted, self.declared.codec.unwrap_or(VideoCodec::Vp8));
        Ok(())
    }

    /// Reads the sequence header of an AV1 keyframe, until the picture size and `av1C` are known.
    fn av1_size(&mut self, kind: Kind, block: &Block) -> Result<Option<(u16, u16)>, RepairError> {
        let is_wanted = kind == Kind::Video && block.keyframe && self.codec_private.is_none();
        if !is_wanted || self.declared.codec != Some(VideoCodec::Av1) {
            return Ok(None);
        }
        let mut begin = [0; SEQUENCE_WITHIN];
        let len = read_full_at(self.file, block.data_at, &mut begin)?.min(block.data_len as usize);
        let Some(sequence) = av1::sequence_in(&begin[..len]) else { return Ok(None) };
        self.codec_private = Some(sequence.codec_private);
        Ok(Some(sequence.size))
    }

    /// Puts the size of the open cluster right.
    fn end_cluster(&mut self, end: u64) -> Result<(), RepairError> {
        let Some((cluster, head)) = self.open.take() else { return Ok(()) };
        if cluster.is_empty() {
            self.empty_from.get_or_insert(cluster.at());
        } else {
            self.empty_from = None;
            self.clusters += 1;
            self.sidecar.push(&cluster.row(end));
        }
        let size = end - cluster.at() - CLUSTER_HEAD_LEN;
        if head.size != Some(size) {
            write_all_at(self.file, cluster.at() + CLUSTER_SIZE_IN_CLUSTER, &elements::size_8(size))?;
            self.changed = true;
        }
        Ok(())
    }

    /// Makes a Void of bytes that are no elements, so that every player steps over them. The bytes stay, but for the head.
    fn hide(&mut self, from: u64, to: u64) -> Result<(), RepairError> {
        let head = match to - from {
            // One byte is too little for a Void; players find the next cluster by themselves.
            0 | 1 => return Ok(()),
            len @ 2..=8 => vec![VOID as u8, 0x80 | (len - 2) as u8],
            len => elements::void_head(len as usize).to_vec(),
        };
        self.changed |= patch(self.file, from, &head)?;
        Ok(())
    }
}

/// An open file as the scan reads it.
pub(super) struct FileSource<'a>(pub &'a dyn StorageFile);

impl Source for FileSource<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
}

/// A sequence header comes first; few are longer than 20 bytes.
const SEQUENCE_WITHIN: usize = 512;
const MAX_PASSES: u32 = 8;
const PROGRESS_STEP: u64 = 8 * 1024 * 1024;
