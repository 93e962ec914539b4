//! Tests of the segment file and its repair over a disk in memory.

mod cuts;
mod faults;
mod hostile;
mod judge;
mod roundtrip;

use std::path::Path;

use proptest::prelude::*;
use reelay_signaling::Kind;

use super::faulty::FaultyDisk;
use super::file::{Block, SegmentFile, Written};
use crate::webm::layout::*;
use crate::webm::scan::{Item, OnDamage, Walker};
use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack};

const PART: &str = "/r/p1-camera-1.webm.part";
const FILE: &str = "/r/p1-camera-1.webm";
const INDEX: &str = "/r/p1-camera-1.idx";

/// A block of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    kind: Kind,
    time_ms: u64,
    keyframe: bool,
    fill: bool,
    data: Vec<u8>,
}

fn header() -> Header {
    Header {
        video: Some(VideoTrack { codec: VideoCodec::Vp8, size: None }),
        audio: Some(AudioTrack { channels: 2 }),
        date_ms: 1_790_000_000_000,
        name: "camera".into(),
    }
}

fn create(disk: &FaultyDisk) -> SegmentFile {
    SegmentFile::create(disk.storage(), Path::new(FILE), &header()).unwrap()
}

fn put(file: &mut SegmentFile, block: &Owned) -> Written {
    try_put(file, block).unwrap()
}

fn try_put(file: &mut SegmentFile, block: &Owned) -> Result<Written, super::storage::StorageError> {
    let Owned { kind, time_ms, keyframe, fill, ref data } = *block;
    file.write(Block { kind, time_ms, keyframe, fill, data, size: None })
}

fn vp8(keyframe: bool, len: usize, seed: u8) -> Vec<u8> {
    let mut data: Vec<u8> = (0..len.max(10)).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
    data[0] = u8::from(!keyframe);
    if keyframe {
        data[3..10].copy_from_slice(&[0x9D, 0x01, 0x2A, 0x40, 0x01, 0xB4, 0x00]);
    }
    // Bytes that look like a cluster, to mislead whoever searches for one.
    if len > 60 {
        data[20..24].copy_from_slice(&CLUSTER.to_be_bytes());
    }
    data
}

fn opus(len: usize, seed: u8) -> Vec<u8> {
    let mut data = vec![seed; len.max(1)];
    data[0] = 0xF8;
    data
}

/// A call of `ms` with 25 frames and 50 packets a second and a keyframe each 2 s.
fn call(ms: u64) -> Vec<Owned> {
    let mut blocks = Vec::new();
    for time_ms in (0..ms).step_by(20) {
        let seed = (time_ms / 20) as u8;
        if time_ms % 40 == 0 {
            let keyframe = time_ms % 2000 == 0;
            let data = vp8(keyframe, if keyframe { 900 } else { 200 + usize::from(seed) }, seed);
            blocks.push(Owned { kind: Kind::Video, time_ms, keyframe, fill: false, data });
        }
        let data = opus(40 + usize::from(seed % 40), seed);
        blocks.push(Owned { kind: Kind::Audio, time_ms, keyframe: true, fill: false, data });
    }
    blocks
}

/// Writes blocks with a flush after each few.
fn write_all(file: &mut SegmentFile, blocks: &[Owned]) {
    for (index, block) in blocks.iter().enumerate() {
        put(file, block);
        if index % 3 == 0 {
            file.flush().unwrap();
        }
    }
}

/// Every block of a file that is complete, in order.
fn blocks_in(bytes: &[u8]) -> Vec<Owned> {
    let mut walker = Walker::new(bytes, FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Skip);
    let mut blocks = Vec::new();
    while let Some(item) = walker.next_item().unwrap() {
        let Item::Block(block) = item else { continue };
        let kind = if block.track == 1 { Kind::Video } else { Kind::Audio };
        let data = bytes[block.data_at as usize..][..block.data_len as usize].to_vec();
        let (keyframe, fill) = (block.keyframe, block.is_fill());
        blocks.push(Owned { kind, time_ms: block.time_ms as u64, keyframe, fill, data });
    }
    blocks
}

/// Blocks in any order of kinds and times, fills, holes, large ones and ones that cannot be taken. The first keyframe is no
/// fill: that one would get a twin.
fn any_blocks() -> impl Strategy<Value = Vec<Owned>> {
    let step = prop_oneof![8 => 0_u64..60, 2 => 0_u64..3000, 1 => 0_u64..40_000];
    let len = prop_oneof![20 => 1_usize..400, 3 => 400_usize..20_000, 1 => 16_370_usize..16_390];
    let one = (any::<bool>(), step, prop::bool::weighted(0.2), prop::bool::weighted(0.1), len, any::<u8>());
    prop::collection::vec(one, 1..200).prop_map(|all| {
        let (mut time_ms, mut has_keyframe) = (0, false);
        let block = |(is_video, step, keyframe, fill, len, seed)| {
            time_ms += step;
            match is_video {
                true => {
                    let (keyframe, fill) = (keyframe || fill, fill && has_keyframe);
                    has_keyframe |= keyframe;
                    Owned { kind: Kind::Video, time_ms, keyframe, fill, data: vp8(keyframe, len, seed) }
                }
                false => Owned { kind: Kind::Audio, time_ms, keyframe: true, fill: false, data: opus(len, seed) },
            }
        };
        all.into_iter().map(block).collect()
    })
}
