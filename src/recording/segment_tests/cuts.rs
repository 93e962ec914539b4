//! The server dies, or the power goes, at any byte of any write: every complete block is kept, and a repair is repeatable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::recording::faulty::{Op, apply, put as put_bytes, replay};
use crate::recording::repair::{Outcome, RepairError, RepairReport, repair};
use crate::webm::front;
use crate::webm::scan::Tail;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The log of a recording, and how many operations it had before the close.
fn log_of(blocks: &[Owned]) -> (Vec<Op>, usize) {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    for (index, block) in blocks.iter().enumerate() {
        put(&mut file, block);
        if index % 3 == 0 {
            file.flush().unwrap();
        }
        if index % 60 == 0 {
            file.sync().unwrap();
        }
    }
    file.flush().unwrap();
    let before_close = disk.state().log.len();
    file.close().unwrap();
    let log = disk.log();
    (log, before_close)
}

/// Path and bytes of the recording, under whichever name it has.
fn recording(files: &Files) -> Option<(&'static str, &Vec<u8>)> {
    [FILE, PART].into_iter().find_map(|path| Some((path, files.get(Path::new(path))?)))
}

/// Repairs what a cut left; checks that the result is whole and that a second repair changes nothing.
fn repaired(files: Files) -> Option<(Files, RepairReport)> {
    let (path, _) = recording(&files)?;
    let disk = FaultyDisk::with(files);
    let report = repair(&disk.storage(), Path::new(path)).unwrap();
    let files = disk.files();
    if report.outcome == Outcome::Removed {
        assert_eq!(files.len(), 0, "an empty recording leaves nothing behind");
        return None;
    }
    assert_whole(&files[Path::new(FILE)]);
    let again = repair(&disk.storage(), Path::new(FILE)).unwrap();
    assert_eq!(again.outcome, Outcome::Whole);
    assert!(disk.state().files == files, "a second repair changed bytes");
    Some((files, report))
}

fn assert_whole(bytes: &[u8]) {
    let len = bytes.len() as u64;
    let front = front::read(bytes, len).unwrap();
    assert_eq!(front.segment_size, Some(len - SEGMENT_DATA_AT));
    assert!(front.duration.is_some() && front.cues.is_some());
    let mut walker = Walker::new(bytes, FIRST_CLUSTER_AT, len, OnDamage::Stop);
    while let Some(item) = walker.next_item().unwrap() {
        if let Item::Cluster(head) = item {
            assert!(head.size.is_some());
        }
    }
    assert_eq!(walker.tail(), Some(Tail::Clean));
}

/// Bytes at which a write may be cut: all of a short one, the sectors of a long one.
fn cuts_of(op: &Op) -> Vec<usize> {
    match op {
        Op::Write { data, .. } if data.len() <= 64 => (0..=data.len()).collect(),
        Op::Write { data, .. } => (0..data.len()).step_by(512).chain([1, 9, data.len() - 1, data.len()]).collect(),
        _ => vec![0],
    }
}

#[test]
fn every_cut_of_the_close_is_repaired_to_the_same_file() {
    let (log, before_close) = log_of(&call(6000));
    let whole = replay(&log, usize::MAX);
    let mut cuts = 0;
    for count in before_close + 1..=log.len() {
        for cut in cuts_of(&log[count - 1]) {
            let (files, _) = repaired(replay(&log[..count], cut)).unwrap();
            assert!(files == whole, "cut at byte {cut} of {:?}", log[count - 1]);
            cuts += 1;
        }
    }
    assert!(cuts > 200, "{cuts}");
}

#[test]
fn file_plays_before_the_repair_after_each_closing_write() {
    let blocks = call(6000);
    let (log, before_close) = log_of(&blocks);
    for count in before_close..=log.len() {
        let files = replay(&log[..count], usize::MAX);
        let (_, bytes) = recording(&files).unwrap();
        let front = front::read(&bytes[..], bytes.len() as u64).unwrap();
        assert_eq!((front.tracks.len(), front.first_cluster_at), (2, Some(FIRST_CLUSTER_AT)));
        assert_eq!(blocks_in(bytes), blocks);
        for point in front.cues.unwrap_or_default() {
            assert_eq!(bytes[point.cluster_at as usize..][..4], CLUSTER.to_be_bytes());
        }
    }
}

#[test]
fn flips_of_the_close_are_short_and_in_one_sector() {
    let (log, before_close) = log_of(&call(6000));
    let mut flips = 0;
    for op in &log[before_close..] {
        let Op::Write { path, offset, data } = op else { continue };
        if path == Path::new(PART) && data.len() <= 9 {
            assert!(in_one_sector(*offset, data.len() as u64), "{op:?}");
            flips += 1;
        }
    }
    assert_eq!(
        flips, 8,
        "cluster size, index, SeekHead entry, Duration and DefaultDuration in two parts, Segment size"
    );
}

#[test]
fn header_without_a_block_is_removed() {
    let (log, _) = log_of(&call(1000));
    let header = log.iter().position(|op| matches!(op, Op::Write { .. })).unwrap() + 1;
    let Op::Write { data, .. } = &log[header - 1] else { panic!("the header is a write") };
    for cut in [0, 1, 36, 47, 48, 120, 600, 4096, 30_000, data.len() - 1, data.len()] {
        assert_eq!(repaired(replay(&log[..header], cut)), None, "header cut at {cut}");
    }
    // And with the beginning of a cluster, or of its first block.
    let mut files = replay(&log[..header], usize::MAX);
    let first = [&CLUSTER.to_be_bytes()[..], &UNKNOWN_SIZE, &[0xE7, 0x81, 0, 0xA3, 0x90, 0x81]].concat();
    for len in 1..=first.len() {
        let file = files.get_mut(Path::new(PART)).unwrap();
        file.truncate(FIRST_CLUSTER_AT as usize);
        file.extend_from_slice(&first[..len]);
        assert_eq!(repaired(files.clone()), None, "cluster cut at {len}");
    }
}

#[test]
fn repair_that_is_cut_is_finished_by_the_next() {
    let (log, before_close) = log_of(&call(6000));
    let start = replay(&log[..before_close - 1], 100);
    let disk = FaultyDisk::with(start.clone());
    repair(&disk.storage(), Path::new(PART)).unwrap();
    let (wanted, steps) = (disk.files(), disk.log());
    for count in 1..=steps.len() {
        for cut in cuts_of(&steps[count - 1]) {
            let mut files = start.clone();
            steps[..count - 1].iter().for_each(|op| apply(&mut files, op));
            match &steps[count - 1] {
                Op::Write { path, offset, data } => put_bytes(&mut files, path, *offset, &data[..cut]),
                op => apply(&mut files, op),
            }
            let (files, _) = repaired(files).unwrap();
            assert!(files == wanted, "cut at byte {cut} of {:?}", steps[count - 1]);
        }
    }
}

/// What a power cut may leave: everything up to the last sync, and of later writes any sectors.
fn power_cut(log: &[Op], mut keep: impl FnMut() -> bool) -> (Files, Files) {
    let synced = log.iter().rposition(|op| *op == Op::SyncData(PART.into())).map_or(0, |at| at + 1);
    let safe = replay(&log[..synced], usize::MAX);
    let mut files = safe.clone();
    for op in &log[synced..] {
        match op {
            Op::Write { path, offset, data } => {
                let mut at = 0;
                while at < data.len() {
                    let to_boundary = (SECTOR - (offset + at as u64) % SECTOR) as usize;
                    let part = &data[at..data.len().min(at + to_boundary)];
                    if keep() {
                        put_bytes(&mut files, path, offset + at as u64, part);
                    }
                    at += part.len();
                }
            }
            op => apply(&mut files, op),
        }
    }
    (safe, files)
}

/// What a power cut leaves of files of which nothing was synced: any of their sectors, the others are zeros.
fn sectors_of(log: &[Op], mut keep: impl FnMut() -> bool) -> Files {
    let mut files = replay(log, usize::MAX);
    for bytes in files.values_mut() {
        for sector in bytes.chunks_mut(SECTOR as usize) {
            if !keep() {
                sector.fill(0);
            }
        }
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_complete_block_survives_any_cut(at in 0.0..1.0_f64, cut in any::<prop::sample::Index>()) {
        let (log, _) = shared_log();
        let count = 1 + (at * log.len() as f64) as usize;
        let len = if let Op::Write { data, .. } = &log[count - 1] { data.len() } else { 0 };
        let files = replay(&log[..count], cut.index(len + 1));
        let before = recording(&files).map(|(_, bytes)| blocks_in(bytes)).unwrap_or_default();
        match repaired(files) {
            Some((files, report)) => {
                prop_assert!(blocks_in(&files[Path::new(FILE)]) == before);
                prop_assert_eq!(report.tally.blocks(), before.len() as u64);
            }
            None => prop_assert_eq!(before.len(), 0),
        }
    }

    #[test]
    fn power_cut_before_the_first_sync_leaves_a_whole_file_or_nothing(at in 0.0..1.0_f64, seed in any::<u64>()) {
        let (log, before_close) = shared_log();
        let first_sync = log.iter().position(|op| *op == Op::SyncData(PART.into())).unwrap();
        prop_assert!(first_sync < *before_close);
        let count = 1 + (at * first_sync as f64) as usize;
        let mut random = seed | 1;
        let keep = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 3 != 0
        };
        let files = sectors_of(&log[..count], keep);
        // What is made of it is judged in there: it is whole, and a second repair changes nothing.
        repaired(files);
    }

    #[test]
    fn power_cut_loses_nothing_that_was_synced(at in 0.05..1.0_f64, seed in any::<u64>()) {
        let (log, before_close) = shared_log();
        let count = 1 + (at * *before_close as f64) as usize;
        let mut random = seed | 1;
        let keep = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 3 != 0
        };
        let (safe, files) = power_cut(&log[..count.min(*before_close)], keep);
        let Some((_, synced)) = recording(&safe) else { return Ok(()) };
        let synced = blocks_in(synced);
        if synced.is_empty() {
            return Ok(());
        }
        let (files, _) = repaired(files).unwrap();
        let kept = blocks_in(&files[Path::new(FILE)]);
        prop_assert!(kept.len() >= synced.len() && kept[..synced.len()] == synced[..]);
    }
}

/// Header sectors that never reached the disk, in each combination, under media that did.
#[test]
fn lost_header_is_made_anew_from_the_media() {
    let blocks = call(1000);
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &blocks);
    file.flush().unwrap();
    for lost in [0..512, 512..1024, 0..1024, 0..FIRST_CLUSTER_AT as usize] {
        let mut bytes = disk.bytes(PART);
        bytes[lost.clone()].fill(0);
        let (files, report) = repaired(Files::from([(PART.into(), bytes)])).unwrap();
        assert_eq!(report.video, Some(crate::webm::VideoCodec::Vp8), "{lost:?}");
        assert_eq!(blocks_in(&files[Path::new(FILE)]), blocks, "{lost:?}");
    }
}

/// A header that is damaged, and not merely missing, is nobody's to guess at: an older file may stand behind it.
#[test]
fn damaged_header_is_refused_and_the_file_stays() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(1000));
    file.flush().unwrap();
    let mut bytes = disk.bytes(PART);
    bytes[40..60].fill(7);
    let disk = FaultyDisk::with(Files::from([(PART.into(), bytes.clone())]));
    assert!(matches!(repair(&disk.storage(), Path::new(PART)), Err(RepairError::NotOurs(_))));
    assert_eq!(disk.bytes(PART), bytes);
}

fn shared_log() -> &'static (Vec<Op>, usize) {
    static LOG: std::sync::OnceLock<(Vec<Op>, usize)> = std::sync::OnceLock::new();
    LOG.get_or_init(|| log_of(&call(9000)))
}
