//! A thousand calls of a third of a second to three seconds, of which each leaves a whole file or nothing.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reelay::media::TapItem;
use reelay_signaling::{Kind, ParticipantId, RecordingStatus};

use crate::media::{Sender, Timed};
use crate::recorder::blocks;
use crate::tape::{Tape, files};
use crate::webm_judges::judge_all;

#[test]
fn a_thousand_short_calls_give_a_thousand_whole_files_or_say_that_nothing_was_sent() {
    let mut random = StdRng::seed_from_u64(1_000);
    let mut tape = Tape::new(0);
    let dir = tempfile::tempdir().unwrap();
    // What each call sent that can be in a file: frames from the first keyframe on, and packets of sound.
    let mut sent: BTreeMap<String, [Vec<Vec<u8>>; 2]> = BTreeMap::new();
    let mut at_ms = 100;
    for n in 0..1_000_u64 {
        let who = ParticipantId::from_random(n).to_string();
        let (length_ms, both) = (random.random_range(300..3_000), random.random_range(0..4) > 0);
        let has_video = both || random.random();
        let has_audio = both || !has_video;
        let is_silent = random.random_range(0..20) == 0;
        // The clip begins somewhere before: most calls begin in the middle of a group of pictures.
        let into_ms = if random.random() { 0 } else { random.random_range(0..2_500) };
        tape.join(at_ms, &who);
        tape.begins(at_ms);
        let mut expected = [Vec::new(), Vec::new()];
        for (kind, is_there) in [(Kind::Audio, has_audio), (Kind::Video, has_video)] {
            if !is_there {
                continue;
            }
            let late_ms = if random.random_range(0..3) == 0 { random.random_range(0..length_ms) } else { 0 };
            tape.start(at_ms + late_ms, &who, "camera", kind);
            let seq = random.random();
            let rtp_time = random.random();
            let ssrc = random.random();
            let sender = Sender { ssrc, seq, rtp_time, wall_ms: at_ms, ..tape.sender(at_ms + 3_000 - into_ms, 2) };
            // Sent as if it had begun earlier: moved back by what is before the call.
            let items = window(&tape, &sender, kind, at_ms + 3_000 + late_ms, at_ms + 3_000 + length_ms);
            let items = if is_silent { Vec::new() } else { items };
            expected[kind as usize] = frames(&items, kind);
            tape.items(&who, "camera", moved_back(items));
        }
        sent.insert(format!("01920000-0000-7000-8000-{:012x}", n + 1), expected);
        tape.leave(at_ms + length_ms, &who);
        at_ms += length_ms + 100;
    }
    let all = tape.play(at_ms + 100, dir.path());
    let mut paths = Vec::new();
    for recording in &all {
        let (folder, manifest) = recording;
        assert_eq!((manifest.state, manifest.files.len()), (RecordingStatus::Complete, 1), "{manifest:?}");
        let path = files(recording).remove(0);
        let expected = sent.remove(folder.file_name().unwrap().to_str().unwrap()).unwrap();
        for kind in [Kind::Audio, Kind::Video] {
            let real = blocks(&path, kind).into_iter().filter(|block| !block.is_fill).map(|block| block.data);
            assert!(real.eq(expected[kind as usize].iter().cloned()), "{} of {kind}", path.display());
        }
        paths.push(path);
    }
    assert!(all.len() > 900, "{} recordings", all.len());
    assert!(sent.values().all(|[audio, video]| audio.is_empty() && video.is_empty()), "something was sent and is gone");
    // All were taken apart; the judges of others see one in ten.
    let some: Vec<_> = paths.into_iter().step_by(10).collect();
    judge_all(&some);
}

fn window(tape: &Tape, sender: &Sender, kind: Kind, from_ms: u64, to_ms: u64) -> Vec<Timed> {
    let range = tape.sender(from_ms, 1).start..tape.sender(to_ms, 1).start;
    let times = sender.items(kind).into_iter().filter(|(at, _)| range.contains(at));
    times.collect()
}

fn moved_back(items: Vec<Timed>) -> Vec<Timed> {
    let by = std::time::Duration::from_secs(3);
    let moved = |(at, item): Timed| {
        let item = match item {
            TapItem::Packet(packet) => {
                TapItem::Packet(reelay::media::TapPacket { arrival: packet.arrival - by, ..packet })
            }
            TapItem::Report(report) => {
                TapItem::Report(reelay::media::SenderReport { arrival: report.arrival - by, ..report })
            }
            other => other,
        };
        (at - by, item)
    };
    items.into_iter().map(moved).collect()
}

/// What of these packets belongs into a file: whole frames, video from a keyframe on.
fn frames(items: &[Timed], kind: Kind) -> Vec<Vec<u8>> {
    let packets = items.iter().filter_map(|(_, item)| match item {
        TapItem::Packet(packet) => Some(packet),
        _ => None,
    });
    if kind == Kind::Audio {
        return packets.map(|packet| packet.payload.to_vec()).collect();
    }
    let (mut frames, mut open): (Vec<Vec<u8>>, Option<Vec<u8>>) = (Vec::new(), None);
    for packet in packets {
        let is_start = packet.payload[0] & 0x10 != 0;
        if is_start {
            open = Some(Vec::new());
        }
        let Some(frame) = &mut open else { continue };
        frame.extend_from_slice(&packet.payload[4..]);
        if packet.marker {
            frames.extend(open.take());
        }
    }
    let from = frames.iter().position(|frame| frame[0] & 1 == 0).unwrap_or(frames.len());
    frames.split_off(from)
}
