//! A disk that is full, fails, or takes a few bytes at a time: errors are clear, and what was written before stays.

use std::path::Path;

use super::*;
use crate::recording::faulty::Faults;
use crate::recording::repair::{Outcome, RepairError, repair};
use crate::recording::storage::StorageError;
use crate::webm::index;

fn used(disk: &FaultyDisk) -> u64 {
    disk.state().files.values().map(|file| file.len() as u64).sum()
}

/// Closes what the calls left and tells whether it is the whole beginning of `blocks`.
fn assert_beginning(disk: &FaultyDisk, path: &str, blocks: &[Owned], at_least: usize) {
    let kept = blocks_in(&disk.bytes(path));
    assert!(kept.len() >= at_least && kept[..] == blocks[..kept.len()], "{} of {} blocks", kept.len(), blocks.len());
    disk.state().faults = Faults::default();
    assert_eq!(repair(&disk.storage(), Path::new(path)).unwrap().tally.blocks(), kept.len() as u64);
}

#[test]
fn short_writes_change_nothing() {
    let disk = FaultyDisk::default();
    disk.state().faults.longest_write = Some(7);
    let mut file = create(&disk);
    write_all(&mut file, &call(3000));
    file.close().unwrap();
    assert_eq!(blocks_in(&disk.bytes(FILE)), call(3000));
}

#[test]
fn disk_that_fills_up_keeps_what_was_flushed_and_the_close_works() {
    // At each amount of room, the disk fills within another write: a block, a cluster's size, the sidecar.
    for room in (0..60_000).step_by(1777) {
        let disk = FaultyDisk::default();
        let mut file = create(&disk);
        let blocks = call(10_000);
        write_all(&mut file, &blocks[..20]);
        file.flush().unwrap();
        disk.state().faults.space = Some(used(&disk) + room);
        let mut error = None;
        for block in &blocks[20..] {
            if let Err(cause) = try_put(&mut file, block).and_then(|_| file.flush()) {
                error = Some(cause);
                break;
            }
        }
        assert!(matches!(error, Some(StorageError::Full(_))), "{error:?}");
        let closed = file.close().unwrap().unwrap();
        assert!(closed.cut, "the last flush did not fit");
        assert_eq!(closed.bytes, disk.bytes(FILE).len() as u64);
        let front = crate::webm::front::read(&disk.bytes(FILE)[..], closed.bytes).unwrap();
        assert!(front.duration.is_some() && front.cues.is_some());
        assert_beginning(&disk, FILE, &blocks, 20);
    }
}

#[test]
fn close_needs_no_free_space() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(7000));
    file.flush().unwrap();
    disk.state().faults.space = Some(used(&disk));
    let closed = file.close().unwrap().unwrap();
    assert!(!closed.cut);
    assert_eq!(blocks_in(&disk.bytes(FILE)), call(7000));
}

#[test]
fn repair_needs_no_free_space() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(7000));
    file.flush().unwrap();
    drop(file);
    let space = used(&disk);
    disk.state().faults.space = Some(space);
    assert_eq!(repair(&disk.storage(), Path::new(PART)).unwrap().outcome, Outcome::Repaired);
    assert_eq!(blocks_in(&disk.bytes(FILE)), call(7000));
}

#[test]
fn space_that_comes_back_lets_the_file_go_on() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    let blocks = call(4000);
    let mut failed = 0;
    for (index, block) in blocks.iter().enumerate() {
        if index == 100 {
            let space = used(&disk) + 100;
            disk.state().faults.space = Some(space);
        }
        if index == 140 {
            disk.state().faults.space = None;
        }
        put(&mut file, block);
        failed += u32::from(file.flush().is_err());
    }
    assert!(failed > 30, "{failed}");
    assert!(!file.close().unwrap().unwrap().cut);
    assert_eq!(blocks_in(&disk.bytes(FILE)), blocks, "what waited was written when there was room");
}

#[test]
fn write_that_fails_at_any_moment_leaves_a_repairable_file() {
    let blocks = call(2500);
    for writes in 0..120 {
        let disk = FaultyDisk::default();
        let mut file = create(&disk);
        put(&mut file, &blocks[0]);
        file.flush().unwrap();
        disk.state().faults.writes_left = Some(writes);
        let failed = blocks[1..].iter().find_map(|block| try_put(&mut file, block).and_then(|_| file.flush()).err());
        assert!(matches!(failed, Some(StorageError::Failed(_))), "{failed:?}");
        assert!(file.close().is_err(), "every write fails");
        assert_beginning(&disk, PART, &blocks, 1);
    }
}

#[test]
fn memory_stays_bounded_when_nothing_can_be_written() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    disk.state().faults.writes_left = Some(0);
    let mut refused = 0;
    for index in 0..1000 {
        let block = Owned {
            kind: Kind::Video,
            time_ms: index * 40,
            keyframe: index == 0,
            fill: false,
            data: vp8(index == 0, 20_000, 0),
        };
        refused += u32::from(try_put(&mut file, &block).is_err());
    }
    assert!(refused > 900, "{refused}");
    assert!(file.stats().bytes < FIRST_CLUSTER_AT + 1_100_000);
}

#[test]
fn failed_sync_is_told_and_remembered() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(1000));
    disk.state().faults.sync = true;
    assert!(matches!(file.sync(), Err(StorageError::Failed(_))));
    disk.state().faults.sync = false;
    file.sync().unwrap();
    assert!(!file.close().unwrap().unwrap().stats.is_durable);
}

#[test]
fn failed_rename_leaves_a_part_that_the_repair_ends() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(1000));
    disk.state().faults.rename = true;
    assert!(file.close().is_err());
    disk.state().faults.rename = false;
    let report = repair(&disk.storage(), Path::new(PART)).unwrap();
    assert_eq!((report.outcome, report.path.as_path()), (Outcome::Repaired, Path::new(FILE)));
    assert_eq!(blocks_in(&disk.bytes(FILE)), call(1000));
}

#[test]
fn folder_made_read_only_is_named_and_works_again_later() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    let blocks = call(3000);
    write_all(&mut file, &blocks[..50]);
    disk.state().faults.read_only = true;
    put(&mut file, &blocks[50]);
    assert!(matches!(file.flush(), Err(StorageError::Unwritable(_))));
    let other = Path::new("/r/p2-camera-1.webm");
    assert!(matches!(SegmentFile::create(disk.storage(), other, &header()), Err(StorageError::Unwritable(_))));
    disk.state().faults.read_only = false;
    blocks[51..].iter().for_each(|block| assert_ne!(put(&mut file, block), Written::Skipped));
    file.close().unwrap();
    assert_eq!(blocks_in(&disk.bytes(FILE)), blocks);
}

#[test]
fn header_that_does_not_fit_leaves_no_file() {
    let disk = FaultyDisk::default();
    disk.state().faults.space = Some(1000);
    let result = SegmentFile::create(disk.storage(), Path::new(FILE), &header());
    assert!(matches!(result, Err(StorageError::Full(_))));
    assert_eq!(disk.state().files.len(), 0);
}

#[test]
fn existing_files_are_never_written_over() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(1000));
    assert!(SegmentFile::create(disk.storage(), Path::new(FILE), &header()).is_err(), "it is being written");
    disk.state().files.insert(FILE.into(), b"older".to_vec());
    assert!(file.close().is_err());
    assert!(matches!(repair(&disk.storage(), Path::new(PART)), Err(RepairError::Exists(_))));
    assert_eq!(disk.bytes(FILE), b"older");
}

#[test]
fn lost_sidecar_is_rebuilt_by_the_repair() {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(9000));
    file.close().unwrap();
    let rows = disk.bytes(INDEX);
    for damage in [Vec::new(), rows[..50].to_vec(), vec![7; 4000]] {
        disk.state().files.insert(INDEX.into(), damage);
        repair(&disk.storage(), Path::new(FILE)).unwrap();
        assert_eq!(disk.bytes(INDEX), rows);
    }
    disk.state().files.remove(Path::new(INDEX));
    repair(&disk.storage(), Path::new(FILE)).unwrap();
    assert_eq!(index::read(&disk.bytes(INDEX)).len(), 5);
}
