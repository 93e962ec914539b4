//! The index inside the file: cue points, thinned so that they fit the slot before the first cluster.

use webm_iterable::WebmWriter;
use webm_iterable::matroska_spec::{Master, MatroskaSpec as M};

use super::elements::{push_void, size_8, unknown_size, void_head};
use super::layout::{INDEX_AT, SEGMENT_DATA_AT, VOID};

/// A place to start reading at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CuePoint {
    /// Time of the block that it points at.
    pub time_ms: u64,
    /// TrackNumber of that block.
    pub track: u8,
    /// Offset of the cluster in the file.
    pub cluster_at: u64,
}

/// The cue points of a file, never more than [`LIMIT`] in memory: when full, every second one goes.
/// Which ones stay depends on the whole sequence only, so a repair chooses the same ones as the close.
#[derive(Debug, Clone, Default)]
pub struct Cues {
    points: Vec<CuePoint>,
    seen: u64,
    stride_log2: u32,
}

impl Cues {
    /// Adds the next point.
    pub fn push(&mut self, point: CuePoint) {
        if self.seen.is_multiple_of(1 << self.stride_log2) {
            if self.points.len() == LIMIT {
                self.halve();
            }
            // After halving, this point may be one that the longer stride skips.
            if self.seen.is_multiple_of(1 << self.stride_log2) {
                self.points.push(point);
            }
        }
        self.seen += 1;
    }

    /// The points that are kept now.
    pub fn points(&self) -> &[CuePoint] {
        &self.points
    }

    /// The bytes of an index slot of `slot_len` bytes: Cues with as many points as fit, and Void. With no room for one
    /// point, or no point, it is all Void.
    pub fn encode(&self, slot_len: usize) -> Vec<u8> {
        let mut kept = self.clone();
        while !kept.points.is_empty() {
            let body_len: usize = kept.points.iter().map(encoded_len).sum();
            match slot_len.checked_sub(HEAD_LEN + body_len) {
                // One byte is too little for a Void.
                Some(1) => drop(kept.points.pop()),
                Some(_) => return kept.encode_all(slot_len),
                None if kept.points.len() == 1 => break,
                None => kept.halve(),
            }
        }
        let mut slot = void_head(slot_len).to_vec();
        slot.resize(slot_len, 0);
        slot
    }

    fn encode_all(&self, slot_len: usize) -> Vec<u8> {
        let encode = || {
            let mut writer = WebmWriter::new(Vec::new());
            writer.write_advanced(&M::Segment(Master::Start), unknown_size())?;
            writer.write(&M::Cues(Master::Start))?;
            for point in &self.points {
                writer.write(&M::CuePoint(Master::Full(vec![
                    M::CueTime(point.time_ms),
                    M::CueTrackPositions(Master::Full(vec![
                        M::CueTrack(point.track.into()),
                        M::CueClusterPosition(point.cluster_at - SEGMENT_DATA_AT),
                    ])),
                ])))?;
            }
            writer.write(&M::Cues(Master::End))?;
            writer.into_inner()
        };
        let encoded: Vec<u8> = encode().expect("the crate fails on a wrong path or a failing sink only");
        let body_len: usize = self.points.iter().map(encoded_len).sum();
        let mut slot = Vec::with_capacity(slot_len);
        slot.extend_from_slice(&cues_head(body_len));
        slot.extend_from_slice(&encoded[encoded.len() - body_len..]);
        push_void(&mut slot, slot_len - HEAD_LEN - body_len);
        slot
    }

    fn halve(&mut self) {
        self.stride_log2 += 1;
        let mut position = 0;
        self.points.retain(|_| {
            position += 1;
            position % 2 == 1
        });
    }
}

/// ID and a size of 5 bytes: as long as the head of the Void that it replaces in one write.
fn cues_head(body_len: usize) -> [u8; HEAD_LEN] {
    let mut head = [0x1C, 0x53, 0xBB, 0x6B, 0x08, 0, 0, 0, 0];
    head[5..].copy_from_slice(&size_8(body_len as u64)[4..]);
    head
}

fn encoded_len(point: &CuePoint) -> usize {
    let positions = 3 + uint_len(point.cluster_at - SEGMENT_DATA_AT);
    2 + uint_len(point.time_ms) + 2 + positions
}

/// Head and value of an unsigned integer with an ID of one byte.
fn uint_len(value: u64) -> usize {
    match value {
        0..=0xFF => 3,
        0x100..=0xFFFF => 4,
        0x1_0000..=0xFFFF_FFFF => 6,
        _ => 10,
    }
}

const HEAD_LEN: usize = 9;
/// The smallest point takes 16 bytes, so this many never fit the slot of 64 KiB: what is dropped here would be dropped
/// by the encoding too.
const LIMIT: usize = 4096;
const _: () = assert!(LIMIT * 16 > super::layout::INDEX_LEN - HEAD_LEN);
const _: () = assert!(INDEX_AT.is_multiple_of(512) && VOID == 0xEC);
