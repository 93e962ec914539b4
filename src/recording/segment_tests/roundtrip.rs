//! What is written is read back, in the clusters and with the index that the rules ask for.

use std::path::Path;

use proptest::prelude::*;
use reelay_signaling::Kind;

use super::*;
use crate::recording::faulty::Op;
use crate::recording::repair::{Outcome, repair};
use crate::webm::index::{self, flags};
use crate::webm::{elements, front};

/// Writes blocks, closes, and returns the file, its index and the blocks as taken.
fn record(blocks: &[Owned]) -> (FaultyDisk, Vec<Owned>) {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    let mut taken = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        if let Written::At(time_ms) = put(&mut file, block) {
            taken.push(Owned { time_ms, ..block.clone() });
        }
        if index % 4 == 0 {
            file.flush().unwrap();
        }
    }
    let closed = file.close().unwrap();
    assert_eq!(closed.is_some(), !taken.is_empty());
    (disk, taken)
}

#[test]
fn a_call_comes_back_byte_for_byte() {
    let blocks = call(10_000);
    let (disk, taken) = record(&blocks);
    assert_eq!(taken, blocks);
    let bytes = disk.bytes(FILE);
    assert_eq!(blocks_in(&bytes), blocks);
    let front = front::read(&bytes[..], bytes.len() as u64).unwrap();
    assert_eq!(front.first_cluster_at, Some(FIRST_CLUSTER_AT));
    assert_eq!(front.duration, Some(10_000.0));
    assert_eq!(front.segment_size, Some(bytes.len() as u64 - SEGMENT_DATA_AT));
    assert_eq!(front.tracks[0].size, Some((320, 180)));
    let times: Vec<u64> = front.cues.unwrap().iter().map(|point| point.time_ms).collect();
    assert_eq!(times, [0, 2000, 4000, 6000, 8000]);
}

#[test]
fn sidecar_points_at_clusters_and_keyframes() {
    let (disk, _) = record(&call(10_000));
    let (bytes, rows) = (disk.bytes(FILE), index::read(&disk.bytes(INDEX)));
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0].offset, FIRST_CLUSTER_AT);
    assert_eq!(rows[4].end(), bytes.len() as u64);
    for row in rows {
        assert_eq!(row.flags, flags::KEYFRAME | flags::AUDIO | flags::VIDEO);
        assert_eq!(bytes[row.offset as usize..][..4], CLUSTER.to_be_bytes());
        let key = &bytes[row.key_offset as usize..][..row.key_len as usize];
        assert_eq!(VideoCodec::Vp8.picture_size(key), Some((320, 180)));
        assert_eq!(key.len(), 900);
    }
}

#[test]
fn only_what_a_file_can_hold_is_taken() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    let block = |kind, keyframe, data: &[u8]| Owned { kind, time_ms: 0, keyframe, fill: false, data: data.to_vec() };
    assert_eq!(put(&mut file, &block(Kind::Video, false, &vp8(false, 20, 1))), Written::Skipped);
    assert_eq!(put(&mut file, &block(Kind::Audio, false, &[])), Written::Skipped);
    assert_eq!(file.stats().skipped, 2);
    assert_eq!(file.close().unwrap(), None);
    assert_eq!(disk.state().files.len(), 0, "a file without a block is removed");
}

#[test]
fn clusters_begin_at_keyframes_while_video_lives() {
    let blocks: Vec<Owned> =
        call(60_000).into_iter().filter(|block| !block.keyframe || block.time_ms % 10_000 == 0).collect();
    let (disk, _) = record(&blocks);
    let rows = index::read(&disk.bytes(INDEX));
    assert_eq!(rows.iter().map(|row| row.t_ms).collect::<Vec<_>>(), [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
}

#[test]
fn cluster_without_a_keyframe_ends_at_20_s() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    for block in call(50_000).iter().filter(|block| block.kind == Kind::Audio || !block.keyframe || block.time_ms == 0)
    {
        put(&mut file, block);
    }
    assert_eq!((file.stats().clusters, file.stats().forced_clusters), (3, 2));
    file.close().unwrap();
    let rows = index::read(&disk.bytes(INDEX));
    assert_eq!(rows[1].flags & (flags::FORCED | flags::KEYFRAME), flags::FORCED);
}

#[test]
fn cluster_without_a_keyframe_ends_at_8_mib() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    for index in 0..20 {
        let data = vp8(index == 0, 1_000_000, 0);
        put(&mut file, &Owned { kind: Kind::Video, time_ms: index * 40, keyframe: index == 0, fill: false, data });
    }
    file.close().unwrap();
    let rows = index::read(&disk.bytes(INDEX));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.len <= 8 * 1024 * 1024));
}

#[test]
fn audio_alone_has_a_cluster_each_5_s() {
    for video in [None, header().video] {
        let disk = FaultyDisk::default();
        let header = Header { video, ..header() };
        let mut file = SegmentFile::create(disk.storage(), Path::new(FILE), &header).unwrap();
        for block in call(21_000).iter().filter(|block| block.kind == Kind::Audio) {
            put(&mut file, block);
        }
        assert_eq!(file.stats().forced_clusters, 0);
        file.close().unwrap();
        let rows = index::read(&disk.bytes(INDEX));
        assert_eq!(rows.iter().map(|row| row.t_ms).collect::<Vec<_>>(), [0, 5000, 10_000, 15_000, 20_000]);
        assert!(rows.iter().all(|row| row.flags == flags::AUDIO));
    }
}

#[test]
fn fills_share_clusters_and_real_video_begins_a_new_one() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    for block in call(16_000) {
        if block.kind == Kind::Audio || block.time_ms >= 12_000 {
            put(&mut file, &block);
        } else if block.time_ms % 1000 == 0 {
            put(&mut file, &Owned { keyframe: true, fill: true, data: vp8(true, 30, 0), ..block });
        }
    }
    assert_eq!(file.stats().tally.video.fills, 13, "the first fill has a twin for the frame rate");
    file.close().unwrap();
    let rows = index::read(&disk.bytes(INDEX));
    assert_eq!(rows.iter().map(|row| row.t_ms).collect::<Vec<_>>(), [0, 5000, 10_000, 12_000, 14_000]);
    assert_eq!(rows[1].flags & (flags::FILL | flags::KEYFRAME), flags::FILL | flags::KEYFRAME);
    assert_eq!(rows[3].flags & (flags::FILL | flags::KEYFRAME), flags::KEYFRAME);
}

#[test]
fn times_never_go_back_and_grow_in_each_track() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    let at = |kind, time_ms| Owned { kind, time_ms, keyframe: true, fill: false, data: vp8(true, 20, 0) };
    let times = [(Kind::Video, 100), (Kind::Audio, 90), (Kind::Audio, 90), (Kind::Video, 50), (Kind::Audio, 101)];
    let written: Vec<Written> = times.iter().map(|(kind, time_ms)| put(&mut file, &at(*kind, *time_ms))).collect();
    assert_eq!(written, [100, 100, 101, 101, 102].map(Written::At));
    assert_eq!(file.stats().clamped, 4);
}

#[test]
fn one_write_per_flush_and_two_more_per_cluster() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    let before = disk.state().log.len();
    let blocks = call(20_000);
    let mut flushes = 0;
    for block in &blocks {
        put(&mut file, block);
        file.flush().unwrap();
        flushes += 1;
    }
    let state = disk.state();
    let writes = |path: &str| {
        let is_write = |op: &&Op| matches!(op, Op::Write { path: of, .. } if of == Path::new(path));
        state.log[before..].iter().filter(is_write).count()
    };
    assert!(writes(PART) <= flushes + 2 * 10, "{} writes, {flushes} flushes", writes(PART));
    assert_eq!(writes(INDEX), 9);
}

#[test]
fn size_of_a_cluster_never_lies_across_a_sector() {
    for first in 0..600 {
        let disk = FaultyDisk::default();
        let mut file = create(&disk);
        put(
            &mut file,
            &Owned { kind: Kind::Video, time_ms: 0, keyframe: true, fill: false, data: vp8(true, 10 + first, 0) },
        );
        put(&mut file, &Owned { kind: Kind::Video, time_ms: 40, keyframe: true, fill: false, data: vp8(true, 10, 0) });
        file.close().unwrap();
        for row in index::read(&disk.bytes(INDEX)) {
            assert!(in_one_sector(row.offset + CLUSTER_SIZE_IN_CLUSTER, 8), "first block of {first}");
        }
        assert_eq!(blocks_in(&disk.bytes(FILE)).len(), 2);
    }
}

#[test]
fn av1_gets_its_configuration_in_place_and_back_from_a_repair() {
    // A sequence header of SVT-AV1, 320×180, and the beginning of a frame.
    let data = [0x0A, 0x0B, 0, 0, 0, 4, 0x3C, 0xFE, 0xCD, 0xBF, 0xF8, 0, 0x40, 0x32, 0x01, 0x10];
    let sequence = crate::rtp::av1::sequence_in(&data).unwrap();
    let disk = FaultyDisk::default();
    let header = Header { video: Some(VideoTrack { codec: VideoCodec::Av1, size: None }), ..header() };
    let mut file = SegmentFile::create(disk.storage(), Path::new(FILE), &header).unwrap();
    assert!(file.set_codec_private(&sequence.codec_private));
    assert!(!file.set_codec_private(&[0; 200]));
    let size = Some(sequence.size);
    file.write(Block { kind: Kind::Video, time_ms: 0, keyframe: true, fill: false, data: &data, size }).unwrap();
    file.close().unwrap();
    let bytes = disk.bytes(FILE);
    let front = front::read(&bytes[..], bytes.len() as u64).unwrap();
    let size = (sequence.size.0.into(), sequence.size.1.into());
    assert_eq!((front.tracks[0].codec.as_str(), front.tracks[0].size), ("V_AV1", Some(size)));
    assert_eq!(front.tracks[0].private, sequence.codec_private);
    assert_eq!(repair(&disk.storage(), Path::new(FILE)).unwrap().outcome, Outcome::Whole);

    // A power cut took the patches of the header, but not the block.
    let fresh = header.encode([1, 1]);
    let lost = fresh.entries.video.unwrap() + PRIVATE_IN_ENTRY;
    let mut torn = bytes.clone();
    torn[lost as usize..][..PRIVATE_LEN].copy_from_slice(&fresh.bytes[lost as usize..][..PRIVATE_LEN]);
    disk.state().files.insert(FILE.into(), torn);
    assert_eq!(repair(&disk.storage(), Path::new(FILE)).unwrap().outcome, Outcome::Repaired);
    assert_eq!(disk.bytes(FILE), bytes);
}

#[test]
fn file_of_a_version_without_room_for_the_frame_rate_is_repaired_as_it_is() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(2000));
    file.close().unwrap();
    let mut bytes = disk.bytes(FILE);
    let video = header().encode([1, 1]).entries.video.unwrap();
    let room = header().encode([1, 1]).entries.frame_duration.unwrap() as usize;
    assert_eq!(bytes[room..][..8], elements::frame_duration(25));
    // The room is taken out of the entry, and the same length put behind the tracks.
    let entry_len = u64::from_be_bytes(bytes[video as usize + 1..][..8].try_into().unwrap()) & !(1 << 56);
    let end = (video + 9 + entry_len) as usize;
    bytes.copy_within(room + 8..end, room);
    bytes[end - 8..end].copy_from_slice(&[VOID as u8, 0x86, 0, 0, 0, 0, 0, 0]);
    bytes[video as usize + 1..][..8].copy_from_slice(&elements::size_8(entry_len - 8));
    disk.state().files.insert(FILE.into(), bytes.clone());
    assert_eq!(repair(&disk.storage(), Path::new(FILE)).unwrap().outcome, Outcome::Whole);
    assert!(disk.bytes(FILE) == bytes);
}

#[test]
fn memory_and_slot_stay_bounded_over_ten_hours() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    for second in 0..36_000_u64 {
        let keyframe = second % 4 == 0;
        let (time_ms, data) = (second * 1000, vp8(keyframe, 20, 0));
        put(&mut file, &Owned { kind: Kind::Video, time_ms, keyframe, fill: false, data });
        put(
            &mut file,
            &Owned { kind: Kind::Audio, time_ms: time_ms + 500, keyframe: true, fill: false, data: opus(3, 0) },
        );
    }
    file.close().unwrap();
    let bytes = disk.bytes(FILE);
    let points = front::read(&bytes[..], bytes.len() as u64).unwrap().cues.unwrap();
    assert!((2250..3500).contains(&points.len()), "{} points", points.len());
    assert_eq!(points[1].time_ms - points[0].time_ms, 16_000);
    assert_eq!(index::read(&disk.bytes(INDEX)).len(), 9000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_taken_is_read_back_in_order(blocks in any_blocks()) {
        let (disk, taken) = record(&blocks);
        if taken.is_empty() {
            return Ok(());
        }
        let bytes = disk.bytes(FILE);
        let read = blocks_in(&bytes);
        prop_assert_eq!(&read, &taken);
        prop_assert!(read.windows(2).all(|pair| pair[0].time_ms <= pair[1].time_ms));
        for kind in [Kind::Audio, Kind::Video] {
            let times: Vec<u64> = read.iter().filter(|block| block.kind == kind).map(|block| block.time_ms).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        }
        let mut walker = Walker::new(&bytes[..], FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Stop);
        let mut rows = index::read(&disk.bytes(INDEX)).into_iter();
        while let Some(item) = walker.next_item().unwrap() {
            match item {
                Item::Cluster(head) => {
                    let row = rows.next().unwrap();
                    prop_assert_eq!((row.offset, row.t_ms), (head.at, head.time_ms.unwrap()));
                    prop_assert_eq!(row.end(), head.body_at + head.size.unwrap());
                }
                Item::Block(block) => prop_assert!((0..=20_000).contains(&block.relative_ms)),
                Item::Other { id, .. } => prop_assert_eq!(id, VOID),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(rows.next(), None);
    }

    #[test]
    fn repair_of_a_closed_file_changes_nothing(blocks in any_blocks()) {
        let (disk, taken) = record(&blocks);
        if taken.is_empty() {
            return Ok(());
        }
        let before = disk.files();
        let report = repair(&disk.storage(), Path::new(FILE)).unwrap();
        prop_assert_eq!(report.outcome, Outcome::Whole);
        prop_assert_eq!(&disk.state().files, &before);
    }
}
