//! What the encoders write, held against constants, against `webm-iterable`, and against the layout.

use webm_iterable::matroska_spec::{Block, Master, MatroskaSpec as M, SimpleBlock};
use webm_iterable::{WebmIterator, WebmWriter, WriteOptions};

use super::cues::{CuePoint, Cues};
use super::elements::*;
use super::layout::*;
use super::{AudioTrack, Header, VideoCodec, VideoTrack};

fn header(codec: VideoCodec) -> Header {
    Header {
        video: Some(VideoTrack { codec, size: None }),
        audio: Some(AudioTrack { channels: 2 }),
        date_ms: 1_790_000_000_123,
        name: "camera".into(),
    }
}

/// What `webm-iterable` writes inside an open cluster.
fn by_crate(tag: &M) -> Vec<u8> {
    let mut writer = WebmWriter::new(Vec::new());
    writer.write_advanced(&M::Segment(Master::Start), WriteOptions::is_unknown_sized_element()).unwrap();
    writer.write_advanced(&M::Cluster(Master::Start), WriteOptions::is_unknown_sized_element()).unwrap();
    let before = 24;
    writer.write(tag).unwrap();
    writer.into_inner().unwrap().split_off(before)
}

const HEAD: BlockHead = BlockHead { track: 1, relative_ms: 0x0123, keyframe: true };

#[test]
fn simple_block_has_these_bytes() {
    let mut out = Vec::new();
    push_simple_block(&mut out, HEAD, b"abc");
    assert_eq!(out, [0xA3, 0x87, 0x81, 0x01, 0x23, 0x80, b'a', b'b', b'c']);
}

#[test]
fn fill_block_has_these_bytes() {
    let mut out = Vec::new();
    push_fill_block(&mut out, HEAD, b"abc");
    let block = [0xA1, 0x87, 0x81, 0x01, 0x23, 0x00, b'a', b'b', b'c'];
    assert_eq!(out, [&[0xA0, 0x8D][..], &block, &[0x9B, 0x82, 0x03, 0xE8]].concat());
}

#[test]
fn cluster_start_has_these_bytes() {
    let mut out = Vec::new();
    push_cluster_start(&mut out, 0x0001_0203);
    let size = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(out, [&[0x1F, 0x43, 0xB6, 0x75][..], &size, &[0xE7, 0x84, 0x00, 0x01, 0x02, 0x03]].concat());
}

#[test]
fn hand_written_blocks_equal_those_of_webm_iterable() {
    // Around each length at which the size takes one byte more.
    for len in (1..300).chain(16_370..16_390).chain([2_097_140, 2_097_147, 2_097_148, 2_097_150]) {
        let data = vec![0xA5; len];
        for (track, relative_ms, keyframe) in [(1, 0, true), (2, 20_000, true), (1, 32_767, false)] {
            let head = BlockHead { track, relative_ms, keyframe };
            let mut ours = Vec::new();
            push_simple_block(&mut ours, head, &data);
            let theirs = SimpleBlock::new_uncheked(&data, track.into(), relative_ms, false, None, false, keyframe);
            assert_eq!(ours, by_crate(&M::from(theirs)), "simple block of {len} bytes");

            let mut ours = Vec::new();
            push_fill_block(&mut ours, head, &data);
            let theirs = Block::new_uncheked(track.into(), relative_ms, false, None, &data);
            let group = Master::Full(vec![M::from(theirs), M::BlockDuration(FILL_DURATION_MS)]);
            assert_eq!(ours, by_crate(&M::BlockGroup(group)), "block group of {len} bytes");
        }
    }
}

#[test]
fn cluster_start_equals_that_of_webm_iterable() {
    for time_ms in [0, 1, 255, 256, 65_535, 65_536, 86_400_000, u64::from(u32::MAX), 1 << 32] {
        let mut ours = Vec::new();
        push_cluster_start(&mut ours, time_ms);
        assert_eq!(ours[12..], by_crate(&M::Timestamp(time_ms)));
    }
}

#[test]
fn header_has_its_parts_where_the_layout_says() {
    let long = Header { name: "ü".repeat(500), ..header(VideoCodec::Av1) };
    let audio = Header { video: None, ..header(VideoCodec::Vp8) };
    let silent = Header { audio: None, ..header(VideoCodec::Vp9) };
    for header in [header(VideoCodec::Vp8), long, audio, silent] {
        let front = header.encode([7, 9]);
        let at = |offset: u64, len: usize| &front.bytes[offset as usize..][..len];
        assert_eq!(front.bytes.len() as u64, FIRST_CLUSTER_AT);
        assert_eq!(at(SEGMENT_SIZE_AT - 4, 12), [&SEGMENT.to_be_bytes()[..], &UNKNOWN_SIZE].concat());
        assert_eq!(at(SEGMENT_DATA_AT, 4), SEEK_HEAD.to_be_bytes());
        assert_eq!(at(SEEK_CUES_AT - 2 * 21, 42), [seek_entry(INFO, INFO_AT), seek_entry(TRACKS, TRACKS_AT)].concat());
        assert_eq!(at(SEEK_CUES_AT, 3), [0xEC, 0x93, 0]);
        assert_eq!(at(INFO_AT, 4), INFO.to_be_bytes());
        assert_eq!(at(DURATION_AT, 3), [0xEC, 0x89, 0]);
        assert_eq!(at(DURATION_AT + 11, 3), [0x44, 0x61, 0x88]);
        assert_eq!(at(TRACKS_AT, 4), TRACKS.to_be_bytes());
        assert_eq!(at(INDEX_AT, 9), void_head(INDEX_LEN));
        if let (Some(entry), Some(video)) = (front.entries.video, header.video) {
            assert_eq!(at(entry, 1), [0xAE]);
            assert_eq!(at(entry + PICTURE_SIZE_IN_ENTRY, 8), picture_size(640, 360));
            let duration = front.entries.frame_duration.unwrap();
            assert_eq!(at(duration, 3), [0xEC, 0x86, 0]);
            assert!(in_one_sector(duration, 3));
            if video.codec == VideoCodec::Av1 {
                assert_eq!(at(entry + PRIVATE_IN_ENTRY, 3), [0xEC, 0xFE, 0]);
                assert!(in_one_sector(entry + PRIVATE_IN_ENTRY, 3));
            }
            assert!(in_one_sector(entry + PICTURE_SIZE_IN_ENTRY, 8));
        }
        if let Some(entry) = front.entries.audio {
            assert_eq!(at(entry, 1), [0xAE]);
        }
        // And it is one well-formed stream up to the first cluster.
        let tags = WebmIterator::new(&front.bytes[..], &[]).collect::<Result<Vec<_>, _>>().unwrap();
        let wanted = usize::from(header.video.is_some()) + usize::from(header.audio.is_some());
        assert_eq!(tags.iter().filter(|tag| matches!(tag, M::TrackEntry(Master::Start))).count(), wanted);
        assert!(tags.contains(&M::DateUTC(811_692_800_123_000_000)));
    }
}

#[test]
fn flips_never_cross_a_sector() {
    for (at, len) in [(SEGMENT_SIZE_AT, 8), (SEEK_CUES_AT, 3), (DURATION_AT, 3), (INDEX_AT, 9)] {
        assert!(in_one_sector(at, len));
    }
}

#[test]
fn codec_private_fills_its_room() {
    for len in [0, 4, 20, 122, 123] {
        let image = codec_private(&vec![7; len]).unwrap();
        assert_eq!(image[..3], [0x63, 0xA2, 0x80 | len as u8]);
        assert_eq!(image[3 + len..][..2], [0xEC, 0x80 | (PRIVATE_LEN - 3 - len - 2) as u8]);
    }
    assert_eq!(codec_private(&[7; 124]), None);
}

#[test]
fn voids_have_the_length_asked_for() {
    for total in (2..300).chain([16_000, 65_536]) {
        let mut out = Vec::new();
        push_void(&mut out, total);
        assert_eq!(out.len(), total);
    }
}

fn cues(count: u64) -> Cues {
    let mut cues = Cues::default();
    for i in 0..count {
        cues.push(CuePoint { time_ms: i * 2000, track: 1, cluster_at: FIRST_CLUSTER_AT + i * 250_000 });
    }
    cues
}

/// Times and cluster offsets in a slot, read by `webm-iterable`.
fn points_of(slot: &[u8]) -> Vec<(u64, u64)> {
    let mut file = Vec::from(SEGMENT.to_be_bytes());
    file.extend_from_slice(&UNKNOWN_SIZE);
    file.extend_from_slice(slot);
    let mut points = Vec::new();
    let mut time = 0;
    for tag in WebmIterator::new(&file[..], &[]) {
        match tag.unwrap() {
            M::CueTime(value) => time = value,
            M::CueClusterPosition(at) => points.push((time, at + SEGMENT_DATA_AT)),
            _ => {}
        }
    }
    points
}

#[test]
fn slot_of_any_length_is_filled_exactly() {
    let thirty = cues(30);
    let sizes: Vec<usize> = [40, 100, 300].into_iter().chain(500..700).collect();
    for slot_len in sizes {
        let slot = thirty.encode(slot_len);
        assert_eq!(slot.len(), slot_len);
        let points = points_of(&slot);
        assert!(!points.is_empty(), "slot of {slot_len}");
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(points[0], (0, FIRST_CLUSTER_AT));
    }
    assert_eq!(points_of(&thirty.encode(700)).len(), 30);
    assert_eq!(points_of(&thirty.encode(12)), []);
    assert_eq!(points_of(&Cues::default().encode(INDEX_LEN)), []);
}

#[test]
fn a_day_of_clusters_is_thinned_evenly() {
    let slot = cues(43_200).encode(INDEX_LEN);
    let points = points_of(&slot);
    assert!(points.len() > 1_400, "{}", points.len());
    let step = points[1].0 - points[0].0;
    assert!(points.windows(2).all(|pair| pair[1].0 - pair[0].0 == step));
    assert_eq!(cues(43_200).points().len().max(4096), 4096);
}
