//! Files that are damaged, foreign or made to harm: an exact answer, no panic, no loop.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::recording::repair::{Outcome, RepairError, RepairReport, repair};

fn closed(ms: u64) -> Vec<u8> {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, &call(ms));
    file.close().unwrap();
    disk.bytes(FILE)
}

fn try_repair(path: &str, bytes: Vec<u8>) -> (Result<RepairReport, RepairError>, FaultyDisk) {
    let disk = FaultyDisk::default();
    disk.state().files.insert(path.into(), bytes);
    (repair(&disk.storage(), Path::new(path)), disk)
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let foreign: [&[u8]; 6] = [
        b"",
        b"not a recording",
        &[0x1A, 0x45, 0xDF, 0xA3, 0x84, 0x42, 0x86, 0x81, 0x01, 0x18, 0x53, 0x80, 0x67],
        &[0xFF; 100_000],
        &[0; 100_000],
        b"RIFF\x10\0\0\0WEBPVP8 ",
    ];
    for bytes in foreign {
        let (result, disk) = try_repair(FILE, bytes.to_vec());
        assert!(matches!(result, Err(RepairError::NotOurs(_))), "{result:?}");
        assert_eq!(disk.bytes(FILE), bytes);
    }
}

#[test]
fn damage_inside_costs_one_cluster_and_is_hidden() {
    let whole = closed(20_000);
    let blocks = blocks_in(&whole);
    let middle = (FIRST_CLUSTER_AT + (whole.len() as u64 - FIRST_CLUSTER_AT) / 2) as usize;
    for (from, len) in
        [(middle, 1), (middle, 100), (middle, 5000), (FIRST_CLUSTER_AT as usize, 4), (whole.len() - 3000, 2000)]
    {
        let mut bytes = whole.clone();
        bytes[from..from + len].fill(0);
        let (result, disk) = try_repair(FILE, bytes);
        let report = result.unwrap();
        let kept = blocks_in(&disk.bytes(FILE));
        assert_eq!(report.tally.blocks(), kept.len() as u64);
        assert!(
            kept.len() + 320 > blocks.len(),
            "{} of {} blocks after {len} bytes at {from}",
            kept.len(),
            blocks.len()
        );
        let after = disk.files();
        assert_eq!(repair(&disk.storage(), Path::new(FILE)).unwrap().outcome, Outcome::Whole);
        assert!(disk.files() == after);
    }
}

#[test]
fn what_another_program_added_is_not_cut_off() {
    let mut bytes = closed(2000);
    let tags = [0x12, 0x54, 0xC3, 0x67, 0x84, 0xEC, 0x82, 0, 0];
    let at = bytes.len() as u64;
    bytes.extend_from_slice(&tags);
    let (result, disk) = try_repair(FILE, bytes.clone());
    assert!(matches!(result, Err(RepairError::Foreign(found)) if found == at), "{result:?}");
    assert!(disk.bytes(FILE).ends_with(&tags));
}

/// Clusters whose sizes and contents mislead a reader into looking far ahead again and again.
#[test]
fn hostile_clusters_do_not_make_the_repair_slow() {
    let mut bytes = closed(40);
    bytes.truncate(FIRST_CLUSTER_AT as usize);
    for i in 0..60_000_u32 {
        bytes.extend_from_slice(&CLUSTER.to_be_bytes());
        bytes.extend_from_slice(&(0x0100_0000_0000_0000_u64 | (u64::from(i % 7) * 1_000_000)).to_be_bytes());
        bytes.extend_from_slice(&[0xE7, 0x81, 0, 0xA3, 0x10, 0x20, 0, 0x81]);
    }
    let began = std::time::Instant::now();
    let (result, _) = try_repair(PART, bytes);
    assert!(result.is_ok() || matches!(result, Err(RepairError::Foreign(_))), "{result:?}");
    assert!(began.elapsed().as_secs() < 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn flipped_bytes_never_panic_and_repairs_repeat(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        in_header in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = whole().clone();
        for (at, value) in flips {
            let at = if in_header { at.index(700) } else { at.index(bytes.len()) };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (result, disk) = try_repair(PART, bytes);
        if result.is_ok_and(|report| report.outcome == Outcome::Repaired) {
            let after = disk.files();
            prop_assert_eq!(repair(&disk.storage(), Path::new(FILE)).unwrap().outcome, Outcome::Whole);
            prop_assert!(disk.files() == after);
        }
    }

    #[test]
    fn garbage_behind_our_header_never_panics(garbage in prop::collection::vec(prop_oneof![
        any::<u8>(), Just(0xA3), Just(0xE7), Just(0x1F), Just(0x43), Just(0xB6), Just(0x75), Just(0x81), Just(0xA0), Just(0xA1),
    ], 0..3000)) {
        let mut bytes = whole()[..FIRST_CLUSTER_AT as usize].to_vec();
        bytes.extend_from_slice(&garbage);
        let (result, _) = try_repair(PART, bytes);
        prop_assert!(result.is_ok() || matches!(result, Err(RepairError::Foreign(_))), "{:?}", result);
    }
}

fn whole() -> &'static Vec<u8> {
    static WHOLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    WHOLE.get_or_init(|| closed(6000))
}
