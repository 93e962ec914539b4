//! Calls that try to make a file that some judge refuses: odd sound, odd pictures, wild numbers, tracks that come and go.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reelay::media::{SenderReport, TapItem, TapPacket};
use reelay_signaling::Kind;
use serde_json::json;

use crate::clip::{self, Frame};
use crate::media::{Sender, Timed};
use crate::tape::{Tape, files};
use crate::webm_judges::{judge_all, judge_containers};

const ANA: &str = "paaaaaaaaaa";
const BEN: &str = "pbbbbbbbbbb";

fn ana() -> Tape {
    let mut tape = Tape::new(0);
    tape.join(0, ANA);
    for _ in 0..60 {
        tape.begins(0);
    }
    tape
}

fn ffmpeg(arguments: &str, path: &Path) {
    let status = Command::new("ffmpeg").args(["-v", "error"]).args(arguments.split(' ')).arg(path).status();
    assert!(status.expect("ffmpeg is needed").success(), "{arguments}");
}

/// All files of a tape, kept in `dir`.
fn record(tape: Tape, end_ms: u64, dir: &Path) -> Vec<PathBuf> {
    tape.play(end_ms, dir).iter().flat_map(files).collect()
}

#[test]
fn sound_of_every_length_of_packet_passes_every_judge() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (n, (duration, more)) in [
        ("2.5", "lowdelay -vbr off"),
        ("5", "lowdelay"),
        ("10", "voip -vbr off"),
        ("20", "audio -b:a 256k"),
        ("40", "voip"),
        ("60", "voip -b:a 8k"),
        ("80", "audio"),
        ("100", "voip -vbr off"),
        ("120", "audio -vbr constrained"),
    ]
    .into_iter()
    .enumerate()
    {
        let ogg = dir.path().join("a.ogg");
        let sine = "-y -f lavfi -i sine=frequency=300:duration=4 -ac 2 -c:a libopus -frame_duration";
        ffmpeg(&format!("{sine} {duration} -application {more}"), &ogg);
        let packets = clip::ogg(&std::fs::read(&ogg).unwrap());
        let mut tape = ana();
        tape.start(0, ANA, "camera", Kind::Audio);
        let us = (duration.parse::<f64>().unwrap() * 1000.0) as u64;
        let sent: Vec<Timed> = packets
            .iter()
            .enumerate()
            // One in fifteen is missing, and one in twenty is DTX: nothing but its first byte.
            .filter(|(n, _)| n % 15 != 7)
            .map(|(n, packet)| {
                let payload = if n % 20 == 3 && us == 20_000 { vec![packet.data[0]] } else { packet.data.clone() };
                let arrival = tape.sender(0, 1).start + Duration::from_micros(n as u64 * us);
                (arrival, sound(n as u16, (n as u64 * us * 48 / 1000) as u32, arrival, payload))
            })
            .collect();
        tape.items(ANA, "camera", sent);
        tape.leave(4_100, ANA);
        let made = record(tape, 5_000, &dir.path().join(n.to_string()));
        assert_eq!(made.len(), 1, "{duration} ms");
        paths.extend(made);
    }
    judge_all(&paths);
}

fn sound(seq: u16, rtp_time: u32, arrival: std::time::Instant, payload: Vec<u8>) -> TapItem {
    let codec = reelay::media::Codec::Opus;
    let (ssrc, marker, audio_level) = (1, false, None);
    let payload = payload.into();
    TapItem::Packet(TapPacket { kind: Kind::Audio, codec, ssrc, seq, rtp_time, marker, arrival, audio_level, payload })
}

#[test]
fn pictures_of_any_size_pass_every_judge() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    // One pixel, a line, a column, and frames of more than a megabyte.
    for (n, size) in ["1x1", "2x2", "1280x2", "2x720", "17x31", "1920x1080"].into_iter().enumerate() {
        let ivf = dir.path().join("a.ivf");
        let (count, quality) = if n == 5 { (3, "-qmin 0 -qmax 0 -b:v 900M") } else { (30, "-b:v 200k") };
        let source = format!("nullsrc=s={size}:r=30,geq=random(1)*255:128:128");
        let encode = format!("-frames:v {count} -c:v libvpx {quality} -cpu-used 8 -deadline realtime -auto-alt-ref 0");
        ffmpeg(&format!("-y -f lavfi -i {source} {encode} -f ivf"), &ivf);
        let frames: Vec<Frame> = clip::ivf(&std::fs::read(&ivf).unwrap());
        let largest = frames.iter().map(|frame| frame.data.len()).max().unwrap();
        assert!(n < 5 || largest > 1_000_000, "{largest}");
        let mut tape = ana();
        tape.start(0, ANA, "camera", Kind::Video);
        tape.start(0, ANA, "camera", Kind::Audio);
        let sender = Sender { video: Some(frames), ..tape.sender(0, 1) };
        tape.items(ANA, "camera", sender.both());
        tape.leave(3_100, ANA);
        paths.extend(record(tape, 4_000, &dir.path().join(n.to_string())));
    }
    assert_eq!(paths.len(), 6);
    judge_all(&paths);
}

/// Does something nasty to what is sent.
fn spoil(random: &mut StdRng, items: &mut Vec<Timed>) {
    for _ in 0..random.random_range(0..6) {
        if items.len() < 4 {
            return;
        }
        let from = random.random_range(0..items.len());
        let to = random.random_range(from..items.len());
        let (by16, by32) = (random.random::<u16>(), random.random::<u32>());
        let packets = |items: &mut [Timed], change: &mut dyn FnMut(&mut TapPacket)| {
            for (_, item) in items {
                if let TapItem::Packet(packet) = item {
                    change(packet);
                }
            }
        };
        match random.random_range(0..11) {
            0 => packets(&mut items[from..], &mut |packet| packet.seq = packet.seq.wrapping_add(by16)),
            1 => packets(&mut items[from..], &mut |packet| packet.rtp_time = packet.rtp_time.wrapping_add(by32)),
            2 => packets(&mut items[from..to], &mut |packet| packet.rtp_time = by32),
            3 => packets(&mut items[from..], &mut |packet| packet.ssrc = by32),
            // The other track's.
            4 => packets(&mut items[from..], &mut |packet| packet.ssrc = 1_000 + by32 % 2),
            // Padding, and a descriptor without anything behind it.
            5 => packets(&mut items[from..=from], &mut |packet| packet.payload = vec![].into()),
            6 => packets(&mut items[from..=from], &mut |packet| packet.payload = vec![0x10].into()),
            7 => drop(items.drain(from..to)),
            8 => items.retain(|_| random.random_range(0..10) > 0),
            9 => {
                for (at, item) in &mut items[from..to] {
                    let late = Duration::from_millis(random.random_range(0..3_000));
                    *at += late;
                    match item {
                        TapItem::Packet(packet) => packet.arrival += late,
                        TapItem::Report(report) => report.arrival += late,
                        _ => {}
                    }
                }
            }
            _ => {
                for (_, item) in &mut items[from..] {
                    if let TapItem::Report(SenderReport { ntp, rtp_time, .. }) = item {
                        *ntp = ntp.wrapping_add(u64::from(by32) << (by16 % 33));
                        *rtp_time = rtp_time.wrapping_add(if by16 % 2 == 0 { by32 } else { 0 });
                    }
                }
            }
        }
    }
}

/// Two people, a screen, and everything that may happen, in any order.
fn wild(seed: u64, dir: &Path, mut garble: impl FnMut(&mut StdRng, &mut Vec<Timed>)) -> Vec<PathBuf> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut tape = ana();
    tape.join(0, BEN);
    for (who, source) in [(ANA, "camera"), (ANA, "screen1"), (BEN, "camera")] {
        for kind in [Kind::Audio, Kind::Video] {
            let mut at_ms = random.random_range(0..4_000);
            while at_ms < 14_000 && random.random_range(0..5) > 0 {
                tape.start(at_ms, who, source, kind);
                let (ssrc, seq, rtp_time) = (1_000 + random.random_range(0..3), random.random(), random.random());
                let sender = Sender { ssrc, seq, rtp_time, wall_ms: at_ms, ..tape.sender(at_ms, 2) };
                let mut items = sender.items(kind);
                spoil(&mut random, &mut items);
                garble(&mut random, &mut items);
                items.sort_by_key(|(at, _)| *at);
                tape.items(who, source, items);
                at_ms += random.random_range(500..7_000);
                if random.random() {
                    tape.end(at_ms, who, source, kind);
                    at_ms += random.random_range(0..3_000);
                }
                if random.random_range(0..3) == 0 {
                    let is_muted = random.random();
                    tape.mute(random.random_range(0..15_000), who, kind, is_muted);
                }
            }
        }
    }
    for what in ["pause", "resume", "pause", "resume", "stop", "start"] {
        if random.random_range(0..4) == 0 {
            tape.at(random.random_range(0..16_000), json!(what));
        }
    }
    // A machine that stands still: nothing is done for a while, then all at once.
    let stall = random.random_range(0..12_000);
    if random.random() {
        tape.stall(stall, stall + random.random_range(100..9_000));
    }
    if random.random() {
        tape.leave(random.random_range(2_000..16_000), BEN);
    }
    record(tape, 17_000, dir)
}

#[test]
fn wild_numbers_and_tracks_that_come_and_go_pass_every_judge() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for seed in 0..24 {
        paths.extend(wild(seed, &dir.path().join(seed.to_string()), |_, _| {}));
    }
    assert!(paths.len() > 30, "{} files", paths.len());
    judge_all(&paths);
}

#[test]
fn garbage_in_packets_does_not_break_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for seed in 100..114 {
        let garble = |random: &mut StdRng, items: &mut Vec<Timed>| {
            for (_, item) in items {
                if let TapItem::Packet(packet) = item
                    && random.random_range(0..8) == 0
                {
                    let mut bytes = packet.payload.to_vec();
                    for _ in 0..random.random_range(1..4) {
                        let at = random.random_range(0..bytes.len().max(1));
                        bytes.resize(bytes.len().max(1), 0);
                        bytes[at] = random.random();
                    }
                    bytes.truncate(random.random_range(1..=bytes.len()));
                    packet.payload = bytes.into();
                }
            }
        };
        paths.extend(wild(seed, &dir.path().join(seed.to_string()), garble));
    }
    assert!(paths.len() > 18, "{} files", paths.len());
    // What is inside of a frame is its sender's matter; what is around it is ours.
    judge_containers(&paths);
}
