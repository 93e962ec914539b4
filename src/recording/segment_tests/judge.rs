//! The check finds what is wrong, by the name of the rule, and nothing in what is right.

use proptest::prelude::*;

use super::*;
use crate::webm::check::{Judgement, State, check};
use crate::webm::elements;
use crate::webm::front::FrontError;

fn closed(blocks: &[Owned]) -> Vec<u8> {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, blocks);
    file.close().unwrap();
    disk.bytes(FILE)
}

fn growing(blocks: &[Owned]) -> Vec<u8> {
    let disk = FaultyDisk::default();
    let mut file = create(&disk);
    write_all(&mut file, blocks);
    file.flush().unwrap();
    disk.bytes(PART)
}

fn judge(bytes: &[u8], state: State) -> Judgement {
    check(bytes, bytes.len() as u64, state).unwrap()
}

/// Changes a good file and expects a fault against this rule.
fn finds(rule: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = closed(&call(6000));
    change(&mut bytes);
    let said = judge(&bytes, State::Closed);
    assert!(said.faults.iter().any(|fault| fault.rule == rule), "no {rule} in {:?}", said.faults);
}

/// Offset of the last block of a kind.
fn last_block(bytes: &[u8], track: u64) -> usize {
    let mut walker = Walker::new(bytes, FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Stop);
    let mut at = 0;
    while let Some(item) = walker.next_item().unwrap() {
        if let Item::Block(block) = item
            && block.track == track
        {
            at = block.data_at as usize;
        }
    }
    at
}

#[test]
fn good_files_are_sound_closed_and_while_they_grow() {
    let said = judge(&closed(&call(6000)), State::Closed);
    assert!(said.is_sound(), "{:?}", said.faults);
    assert_eq!((said.duration_ms, said.clusters, said.cue_points), (6000, 3, 3));
    let video = said.video.unwrap();
    assert_eq!((video.frames, video.keyframes, video.sizes), (150, 3, vec![(320, 180)]));
    assert_eq!(said.audio.unwrap().packets, 300);
    let bytes = growing(&call(6000));
    for len in [bytes.len(), bytes.len() - 1, bytes.len() - 30, FIRST_CLUSTER_AT as usize + 5000] {
        let said = judge(&bytes[..len], State::Growing);
        // Where the cut is in an older cluster, its size tells of bytes that are not there.
        assert!(said.faults.iter().all(|fault| fault.rule == "R6" && len < bytes.len() - 30), "{:?}", said.faults);
    }
}

#[test]
fn each_rule_has_a_fault_that_it_finds() {
    let at = |offset: u64| offset as usize;
    finds("R1", |bytes| {
        let entry = at(TRACKS_AT + TRACKS_HEAD_LEN);
        bytes[entry] = VOID as u8;
    });
    finds("R2", |bytes| bytes[25] = b'x');
    finds("R2", |bytes| {
        let flags = last_block(bytes, 2) - 1;
        bytes[flags] |= 0x02;
    });
    finds("R3", |bytes| bytes[at(INDEX_AT)..][..4].copy_from_slice(&[0x12, 0x54, 0xC3, 0x67]));
    finds("R4", |bytes| bytes.truncate(bytes.len() - 1));
    finds("R4", |bytes| bytes.extend_from_slice(&[0; 40]));
    finds("R4", |bytes| {
        let middle = bytes.len() / 2 + at(FIRST_CLUSTER_AT) / 2;
        bytes[middle..middle + 400].fill(0);
    });
    finds("R6", |bytes| bytes[at(SEGMENT_SIZE_AT)..][..8].copy_from_slice(&UNKNOWN_SIZE));
    finds("R6", |bytes| bytes[at(FIRST_CLUSTER_AT) + 4..][..8].copy_from_slice(&UNKNOWN_SIZE));
    finds("R6", |bytes| bytes[at(INDEX_AT)..][..9].copy_from_slice(&elements::void_head(INDEX_LEN)));
    finds("R6", |bytes| bytes[at(DURATION_AT)..][..3].copy_from_slice(&[0xEC, 0x89, 0]));
    finds("R6", |bytes| bytes[at(SEEK_CUES_AT) + 20] ^= 1);
    finds("R6", |bytes| bytes[at(INDEX_AT) + 9 + 4] ^= 1);
    finds("R9", |bytes| bytes.truncate(at(FIRST_CLUSTER_AT)));
    finds("R10", |bytes| {
        let time = last_block(bytes, 2) - 3;
        bytes[time] = 0;
    });
    finds("R11", |bytes| {
        // The block before the last keyframe's cluster becomes one that claims to be a keyframe.
        let flags = last_block(bytes, 1) - 1;
        bytes[flags] |= 0x80;
    });
    finds("R13", |bytes| bytes[at(DURATION_AT) + 5] ^= 0x40);
    finds("R14", |bytes| {
        let data = last_block(bytes, 2);
        bytes[data] = 0x03;
    });
    finds("R15", |bytes| {
        let mut walker = Walker::new(&bytes[..], FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Stop);
        walker.next_item().unwrap();
        let Some(Item::Block(block)) = walker.next_item().unwrap() else { panic!("the first block") };
        bytes[block.data_at as usize - 1] = 0;
    });
    finds("R16", |bytes| bytes[at(TRACKS_AT + TRACKS_HEAD_LEN + PICTURE_SIZE_IN_ENTRY) + 3] ^= 1);
}

#[test]
fn missing_sound_is_told() {
    let blocks: Vec<Owned> =
        call(6000).into_iter().filter(|block| block.kind == Kind::Video || block.time_ms != 3000).collect();
    let said = judge(&closed(&blocks), State::Closed);
    assert_eq!(said.fault_count, 1);
    assert_eq!(said.faults[0].message, "20 ms of sound are missing before 3020 ms");
}

#[test]
fn what_is_no_webm_is_said_exactly() {
    let check = |bytes: &[u8]| check(bytes, bytes.len() as u64, State::Closed).unwrap_err();
    assert!(matches!(check(b""), FrontError::Cut(0)));
    assert!(matches!(check(b"not a recording"), FrontError::NotEbml));
    assert!(matches!(check(&[0; 64]), FrontError::NotEbml));
    assert!(matches!(check(&closed(&call(40))[..300]), FrontError::Cut(INFO_AT)));
    assert!(matches!(check(&closed(&call(40))[..20]), FrontError::Cut(0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        in_header in any::<bool>(),
        state in prop_oneof![Just(State::Closed), Just(State::Growing)],
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        static WHOLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut bytes = WHOLE.get_or_init(|| closed(&call(6000))).clone();
        for (at, value) in flips {
            let at = if in_header { at.index(5000) } else { at.index(bytes.len()) };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(said) = check(&bytes[..], bytes.len() as u64, state) {
            prop_assert!(said.faults.len() <= 400);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = check(&bytes[..], bytes.len() as u64, State::Closed);
        let with_head = [&[0x1A, 0x45, 0xDF, 0xA3, 0x80, 0x18, 0x53, 0x80, 0x67, 0xFF][..], &bytes].concat();
        let _ = check(&with_head[..], with_head.len() as u64, State::Closed);
    }
}
