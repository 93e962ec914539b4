//! Walks the clusters of a file: strict, in windows of 1 MiB, and always to an end, whatever the bytes are.

use std::io;

use super::ebml::{Head, HeadError, Source, WINDOW_LEN, Window, big_endian, vint};
use super::layout::*;
use super::tally::HEAD_LEN;

/// What is found, in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A cluster begins.
    Cluster(ClusterHead),
    /// A Timestamp that is not the first child of its cluster; later blocks count from it.
    LateTimestamp {
        /// Where.
        at: u64,
        /// Its value.
        time_ms: u64,
    },
    /// A complete block.
    Block(Block),
    /// Another known element, inside of a cluster (Void among them) or between clusters.
    Other {
        /// Its ID.
        id: u32,
        /// Where.
        at: u64,
        /// First byte behind it.
        end: u64,
    },
    /// Bytes that are no elements, up to the next cluster.
    Damage {
        /// Where they begin: the end of the last complete element.
        from: u64,
        /// Where the next cluster begins.
        to: u64,
    },
}

/// The beginning of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterHead {
    /// Where it begins.
    pub at: u64,
    /// Where its children begin.
    pub body_at: u64,
    /// The size that it claims; `None` is "unknown".
    pub size: Option<u64>,
    /// Its Timestamp; `None` if that is not its first child.
    pub time_ms: Option<u64>,
}

/// A SimpleBlock, or a BlockGroup with its Block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where the element begins.
    pub at: u64,
    /// First byte behind it.
    pub end: u64,
    /// TrackNumber.
    pub track: u64,
    /// The cluster's time and the block's own.
    pub time_ms: i64,
    /// Milliseconds after the cluster's Timestamp.
    pub relative_ms: i16,
    /// By its flag, or as a BlockGroup without ReferenceBlock.
    pub keyframe: bool,
    /// Two bits: 0 is none.
    pub lacing: u8,
    /// True for a BlockGroup.
    pub in_group: bool,
    /// BlockDuration, where there is one.
    pub duration_ms: Option<u64>,
    /// Where the data begins.
    pub data_at: u64,
    /// Length of the data.
    pub data_len: u64,
    head: [u8; HEAD_LEN],
}

impl Block {
    /// The first bytes of the data, at most [`HEAD_LEN`].
    pub fn head(&self) -> &[u8] {
        &self.head[..HEAD_LEN.min(self.data_len as usize)]
    }

    /// True for what the recorder puts in where video is missing.
    pub fn is_fill(&self) -> bool {
        self.in_group && self.duration_ms == Some(FILL_DURATION_MS)
    }
}

/// What follows the last complete element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// The beginning of an element.
    Cut,
    /// Bytes that are no element, and no cluster behind them.
    Junk,
}

/// What to do at bytes that are no element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDamage {
    /// Look for the next cluster.
    Skip,
    /// End there: for a file that is just being written.
    Stop,
}

/// Walks from one cluster to the next.
pub struct Walker<S> {
    window: Window<S>,
    at: u64,
    len: u64,
    on_damage: OnDamage,
    cluster: Option<Open>,
    last_ms: u64,
    tail: Option<Tail>,
    far_looks: u32,
}

#[derive(Clone, Copy)]
struct Open {
    time_ms: Option<u64>,
    /// Where it ends by its own word.
    end: Option<u64>,
}

enum Fault {
    Cut,
    Junk,
}

impl<S: Source> Walker<S> {
    /// From `at`, where a cluster begins, to `len`, the length of the file or as much of it as shall be seen.
    pub fn new(source: S, at: u64, len: u64, on_damage: OnDamage) -> Self {
        Self { window: Window::new(source), at, len, on_damage, cluster: None, last_ms: 0, tail: None, far_looks: 0 }
    }

    /// First byte behind the last complete element.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// What follows there, once there is no further item.
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    /// The next item, or `None` at the end.
    ///
    /// # Errors
    /// The disk's.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        if self.tail.is_some() {
            return Ok(None);
        }
        if self.at >= self.len {
            self.tail = Some(Tail::Clean);
            return Ok(None);
        }
        match self.element()? {
            Ok(item) => Ok(Some(item)),
            Err(fault) => self.skip(fault),
        }
    }

    fn element(&mut self) -> io::Result<Result<Item, Fault>> {
        let (at, len) = (self.at, self.len);
        let head = match self.head(at, len)? {
            Ok(head) => head,
            Err(fault) => return Ok(Err(fault)),
        };
        let body_at = at + head.len;
        if head.id == CLUSTER {
            return self.enter_cluster(head);
        }
        let is_child = CLUSTER_CHILDREN.contains(&head.id) && self.cluster.is_some();
        if !is_child && !BETWEEN_CLUSTERS.contains(&head.id) {
            return Ok(Err(Fault::Junk));
        }
        let Some(end) = head.size.and_then(|size| body_at.checked_add(size)) else { return Ok(Err(Fault::Junk)) };
        if end > len {
            return Ok(Err(Fault::Cut));
        }
        if is_child && self.breaks_out(end)? {
            return Ok(Err(Fault::Junk));
        }
        let item = match head.id {
            SIMPLE_BLOCK => self.block(at, body_at, end)?,
            BLOCK_GROUP => self.group(at, body_at, end)?,
            TIMESTAMP => self
                .window
                .exactly(body_at, (end - body_at).min(9) as usize)?
                .and_then(|bytes| (bytes.len() <= 8).then(|| Item::LateTimestamp { at, time_ms: big_endian(bytes) })),
            id => Some(Item::Other { id, at, end }),
        };
        let Some(item) = item else { return Ok(Err(Fault::Junk)) };
        match (item, &mut self.cluster) {
            (Item::LateTimestamp { time_ms, .. }, Some(open)) => open.time_ms = Some(time_ms),
            (Item::Block(block), _) => self.last_ms = self.last_ms.max(block.time_ms.max(0) as u64),
            _ => {}
        }
        self.at = end;
        Ok(Ok(item))
    }

    fn head(&mut self, at: u64, len: u64) -> io::Result<Result<Head, Fault>> {
        let bytes = self.window.at(at, MAX_HEAD)?;
        let bytes = &bytes[..bytes.len().min(len.saturating_sub(at).min(MAX_HEAD as u64) as usize)];
        Ok(Head::parse(bytes).map_err(|error| match error {
            HeadError::Short => Fault::Cut,
            HeadError::Invalid => Fault::Junk,
        }))
    }

    fn enter_cluster(&mut self, head: Head) -> io::Result<Result<Item, Fault>> {
        let at = self.at;
        let body_at = at + head.len;
        let end = head.size.and_then(|size| body_at.checked_add(size));
        let (mut time_ms, mut next) = (None, body_at);
        match self.head(body_at, self.len)? {
            Ok(Head { id: TIMESTAMP, size: Some(size @ 1..=8), len }) if body_at + len + size <= self.len => {
                time_ms = self.window.exactly(body_at + len, size as usize)?.map(big_endian);
                next = body_at + len + size;
            }
            // The file ends before anybody could say what the first child is.
            Ok(Head { id: TIMESTAMP, .. }) | Err(Fault::Cut) => return Ok(Err(Fault::Cut)),
            _ => {}
        }
        self.cluster = Some(Open { time_ms, end: end.filter(|end| *end <= self.len) });
        self.at = next;
        Ok(Ok(Item::Cluster(ClusterHead { at, body_at, size: head.size, time_ms })))
    }

    /// True if a child ends behind its cluster, and the cluster's end is a believable one: then the child is wrong.
    fn breaks_out(&mut self, child_end: u64) -> io::Result<bool> {
        let Some(end) = self.cluster.and_then(|open| open.end) else { return Ok(false) };
        if child_end <= end || self.at >= end || self.far_looks == MAX_FAR_LOOKS {
            return Ok(false);
        }
        self.far_looks += 1;
        Ok(end == self.len || self.is_cluster(end)?)
    }

    fn block(&mut self, at: u64, body_at: u64, end: u64) -> io::Result<Option<Item>> {
        let Some(block) = self.block_body(body_at, end)? else { return Ok(None) };
        Ok(Some(Item::Block(Block { at, end, ..block })))
    }

    fn block_body(&mut self, body_at: u64, end: u64) -> io::Result<Option<Block>> {
        let time_ms = self.cluster.and_then(|open| open.time_ms);
        let len = end - body_at;
        let bytes = self.window.at(body_at, (MAX_BLOCK_HEAD + HEAD_LEN).min(len as usize))?;
        let bytes = &bytes[..bytes.len().min(len.min(WINDOW_LEN as u64) as usize)];
        let Ok((Some(track), track_len)) = vint(bytes) else { return Ok(None) };
        let Some(&[t0, t1, flags]) = bytes.get(track_len..track_len + 3) else { return Ok(None) };
        let Some(time_ms) = time_ms else { return Ok(None) };
        let relative_ms = i16::from_be_bytes([t0, t1]);
        let data = &bytes[track_len + 3..];
        let mut head = [0; HEAD_LEN];
        let known = data.len().min(HEAD_LEN);
        head[..known].copy_from_slice(&data[..known]);
        let data_at = body_at + track_len as u64 + 3;
        Ok(Some(Block {
            at: body_at,
            end,
            track,
            time_ms: i64::try_from(time_ms).unwrap_or(i64::MAX).saturating_add(relative_ms.into()),
            relative_ms,
            keyframe: flags & 0x80 != 0,
            lacing: flags >> 1 & 3,
            in_group: false,
            duration_ms: None,
            data_at,
            data_len: end - data_at,
            head,
        }))
    }

    fn group(&mut self, at: u64, body_at: u64, end: u64) -> io::Result<Option<Item>> {
        let (mut block, mut duration_ms, mut keyframe) = (None, None, true);
        let mut child_at = body_at;
        while child_at < end {
            let Ok(head) = self.head(child_at, end)? else { return Ok(None) };
            let from = child_at + head.len;
            let Some(child_end) = head.size.and_then(|size| from.checked_add(size)).filter(|to| *to <= end) else {
                return Ok(None);
            };
            match head.id {
                BLOCK => block = self.block_body(from, child_end)?,
                REFERENCE_BLOCK => keyframe = false,
                BLOCK_DURATION if child_end - from <= 8 => {
                    duration_ms = self.window.exactly(from, (child_end - from) as usize)?.map(big_endian);
                }
                _ => {}
            }
            child_at = child_end;
        }
        Ok(block.map(|block| Item::Block(Block { at, end, keyframe, duration_ms, in_group: true, ..block })))
    }

    fn skip(&mut self, fault: Fault) -> io::Result<Option<Item>> {
        let from = self.at;
        if self.on_damage == OnDamage::Skip
            && let Some(to) = self.find_cluster(from + 1)?
        {
            self.at = to;
            self.cluster = None;
            return Ok(Some(Item::Damage { from, to }));
        }
        self.tail = Some(match fault {
            Fault::Cut => Tail::Cut,
            Fault::Junk => Tail::Junk,
        });
        Ok(None)
    }

    fn find_cluster(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        const ID: [u8; 4] = CLUSTER.to_be_bytes();
        while from + MAX_HEAD as u64 <= self.len {
            let bytes = self.window.at(from, MAX_HEAD)?;
            let (found, seen) = (bytes.windows(ID.len()).position(|four| four == ID), bytes.len());
            match found {
                Some(position) => {
                    let at = from + position as u64;
                    if self.is_cluster(at)? {
                        return Ok(Some(at));
                    }
                    from = at + 1;
                }
                None if seen < MAX_HEAD => return Ok(None),
                None => from += (seen - ID.len() + 1) as u64,
            }
        }
        Ok(None)
    }

    /// True if a cluster begins there that could follow what was read: Timestamp first, then a child.
    fn is_cluster(&mut self, at: u64) -> io::Result<bool> {
        let len = self.len;
        let Ok(cluster) = self.head(at, len)? else { return Ok(false) };
        if cluster.id != CLUSTER {
            return Ok(false);
        }
        let Ok(time) = self.head(at + cluster.len, len)? else { return Ok(false) };
        let (TIMESTAMP, Some(time_len @ 1..=8)) = (time.id, time.size) else { return Ok(false) };
        let value_at = at + cluster.len + time.len;
        let Some(time_ms) = self.window.exactly(value_at, time_len as usize)?.map(big_endian) else { return Ok(false) };
        let Ok(child) = self.head(value_at + time_len, len)? else { return Ok(false) };
        let is_believable = time_ms.abs_diff(self.last_ms) < LONGEST_JUMP_MS;
        Ok(is_believable && CLUSTER_CHILDREN.contains(&child.id))
    }
}

const CLUSTER_CHILDREN: [u32; 10] = [
    TIMESTAMP,
    SIMPLE_BLOCK,
    BLOCK_GROUP,
    VOID,
    CRC_32,
    POSITION,
    PREV_SIZE,
    SILENT_TRACKS,
    ENCRYPTED_BLOCK,
    BLOCK_VIRTUAL,
];
const POSITION: u32 = 0xA7;
const PREV_SIZE: u32 = 0xAB;
const SILENT_TRACKS: u32 = 0x5854;
const ENCRYPTED_BLOCK: u32 = 0xAF;
const BLOCK_VIRTUAL: u32 = 0xA2;

const BETWEEN_CLUSTERS: [u32; 9] = [SEEK_HEAD, INFO, TRACKS, CUES, VOID, CRC_32, TAGS, CHAPTERS, ATTACHMENTS];
/// ID of Tags.
pub const TAGS: u32 = 0x1254_C367;
const CHAPTERS: u32 = 0x1043_A770;
const ATTACHMENTS: u32 = 0x1941_A469;

/// Longest ID and size.
const MAX_HEAD: usize = 12;
/// Longest track number, time and flags.
const MAX_BLOCK_HEAD: usize = 11;
/// Each look at a cluster's end may cost a read; a file made of tiny clusters with false sizes would make it slow.
const MAX_FAR_LOOKS: u32 = 1000;
/// Damage hides a part of a file; a jump of a week is no file of ours.
const LONGEST_JUMP_MS: u64 = 7 * 24 * 3600 * 1000;
