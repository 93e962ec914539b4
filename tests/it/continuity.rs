//! One file through everything that happens to a camera and a microphone, and one for each time that a screen is shared.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reelay::media::TapItem;
use reelay::recording::Manifest;
use reelay_signaling::Kind;
use serde_json::json;

use crate::clip::{self, Frame};
use crate::media::{Sender, Timed};
use crate::recorder::{ReadBlock, blocks};
use crate::tape::{Tape, files};
use crate::webm_judges::{judge, judge_all};

const ANA: &str = "paaaaaaaaaa";

/// Ana with both tracks from the start.
fn ana(linger_ms: u64) -> Tape {
    let mut tape = Tape::new(linger_ms);
    tape.join(0, ANA);
    tape.start(0, ANA, "camera", Kind::Audio);
    tape.start(0, ANA, "camera", Kind::Video);
    tape.begins(0);
    tape
}

/// What is sent of a clip between two times.
fn part(tape: &Tape, sender: &Sender, kind: Kind, from_ms: u64, to_ms: u64) -> Vec<Timed> {
    let range = tape.sender(from_ms, 1).start..tape.sender(to_ms, 1).start;
    sender.items(kind).into_iter().filter(|(at, _)| range.contains(at)).collect()
}

/// The only file, judged, with its blocks of each kind.
struct Outcome {
    manifest: Manifest,
    audio: Vec<ReadBlock>,
    video: Vec<ReadBlock>,
}

fn record(tape: Tape, end_ms: u64) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let mut all = tape.play(end_ms, dir.path());
    assert_eq!(all.len(), 1);
    let paths = files(&all[0]);
    assert_eq!(paths.len(), 1, "{:?}", all[0].1.files);
    judge(&paths[0]);
    let (audio, video) = (blocks(&paths[0], Kind::Audio), blocks(&paths[0], Kind::Video));
    Outcome { manifest: all.remove(0).1, audio, video }
}

impl Outcome {
    fn real(&self, kind: Kind) -> impl Iterator<Item = &ReadBlock> {
        let all = if kind == Kind::Video { &self.video } else { &self.audio };
        all.iter().filter(|block| !block.is_fill)
    }

    fn has_gap(&self, kind: Kind, cause: &str, from_ms: u64, to_ms: u64) -> bool {
        let near = |a: u64, b: u64| a.abs_diff(b) <= 120;
        let gaps = &self.manifest.files[0].gaps;
        gaps.iter().any(|g| g.kind == kind && g.cause == cause && near(g.from_ms, from_ms) && near(g.to_ms, to_ms))
    }

    /// Sound without a hole, to the end; and pictures that go on after `ms` with a keyframe in its place.
    fn check(&self, end_ms: u64, comebacks_ms: &[u64]) {
        let last = self.audio.last().expect("there is sound");
        assert!(last.time_ms.abs_diff(end_ms) < 100, "sound ends at {}", last.time_ms);
        for pair in self.audio.windows(2) {
            assert!(pair[1].time_ms - pair[0].time_ms <= 21, "a hole before {} ms", pair[1].time_ms);
        }
        for ms in comebacks_ms {
            let back = self.real(Kind::Video).find(|block| block.time_ms + 20 >= *ms).expect("pictures come back");
            assert!(back.is_keyframe && back.time_ms.abs_diff(*ms) < 120, "{ms}: back at {}", back.time_ms);
        }
    }
}

#[test]
fn mute_and_camera_off_are_gaps_in_one_file() {
    let mut tape = ana(0);
    let sender = tape.sender(0, 10);
    for kind in [Kind::Audio, Kind::Video] {
        let mut sent = part(&tape, &sender, kind, 0, 6_000);
        sent.extend(part(
            &tape,
            &Sender { rounds: 5, ..restarted(&tape, &sender, kind, 15_000) },
            kind,
            15_000,
            24_000,
        ));
        tape.items(ANA, "camera", sent);
        tape.mute(6_000, ANA, kind, true);
        tape.mute(15_000, ANA, kind, false);
    }
    tape.leave(24_020, ANA);
    let outcome = record(tape, 25_000);
    outcome.check(24_000, &[15_000]);
    assert!(outcome.has_gap(Kind::Audio, "muted", 6_000, 15_000), "{:?}", outcome.manifest.files[0].gaps);
    assert!(outcome.has_gap(Kind::Video, "muted", 6_000, 15_000), "{:?}", outcome.manifest.files[0].gaps);
    assert_eq!(outcome.video.iter().filter(|block| block.is_fill).count(), 8, "one black picture a second");
}

/// The same SSRC goes on after a pause, with the next numbers.
fn restarted(tape: &Tape, sender: &Sender, kind: Kind, at_ms: u64) -> Sender {
    let before = part(tape, sender, kind, 0, 6_000);
    let count = before.iter().filter(|(_, item)| matches!(item, TapItem::Packet(_))).count() as u16;
    let hz = if kind == Kind::Video { 90 } else { 48 };
    Sender {
        start: tape.sender(at_ms, 1).start,
        seq: sender.seq.wrapping_add(count),
        rtp_time: sender.rtp_time.wrapping_add(at_ms as u32 * hz),
        wall_ms: at_ms,
        ..sender.clone()
    }
}

#[test]
fn another_device_and_another_layer_go_on_in_the_same_file() {
    let mut tape = ana(0);
    let first = tape.sender(0, 3);
    let small = small_clip("160x90");
    // Another microphone after 5 s, a smaller layer after 6 s, the first layer again after 9 s: each with numbers of its own.
    let microphone = Sender { ssrc: 70, seq: 9, rtp_time: 5, wall_ms: 5_000, ..tape.sender(5_000, 4) };
    let layer =
        Sender { ssrc: 80, seq: 60_000, rtp_time: 99, wall_ms: 6_000, video: Some(small), ..tape.sender(6_000, 1) };
    let again = Sender { ssrc: 90, seq: 3, rtp_time: 1 << 31, wall_ms: 9_000, ..tape.sender(9_000, 2) };
    let mut sent = part(&tape, &first, Kind::Audio, 0, 5_000);
    sent.extend(part(&tape, &microphone, Kind::Audio, 5_000, 15_000));
    sent.extend(part(&tape, &first, Kind::Video, 0, 6_000));
    sent.extend(layer.items(Kind::Video));
    sent.extend(again.items(Kind::Video));
    tape.items(ANA, "camera", sent);
    tape.leave(15_050, ANA);
    let outcome = record(tape, 16_000);
    outcome.check(15_000, &[6_000, 9_000]);
    let entry = &outcome.manifest.files[0];
    assert_eq!(entry.counters["ssrc_changes"], 3, "{entry:?}");
    assert_eq!((outcome.real(Kind::Video).count(), outcome.real(Kind::Audio).count()), (180 + 90 + 180, 750));
    let sizes: Vec<_> = entry.report.as_ref().unwrap().sizes.iter().map(|size| (size.1, size.2)).collect();
    assert_eq!(sizes, [(320, 180), (160, 90), (320, 180)]);
}

#[test]
fn a_turned_phone_stays_in_the_same_file() {
    let mut tape = ana(0);
    let wide = tape.sender(0, 1);
    let count = wide.items(Kind::Video).iter().filter(|(_, item)| matches!(item, TapItem::Packet(_))).count();
    let tall = Sender {
        seq: wide.seq.wrapping_add(count as u16),
        rtp_time: wide.rtp_time.wrapping_add(90 * 3000),
        wall_ms: 3_000,
        video: Some(small_clip("180x320")),
        ..tape.sender(3_000, 1)
    };
    let sound = Sender { rounds: 2, ..wide.clone() };
    tape.items(ANA, "camera", wide.items(Kind::Video));
    tape.items(ANA, "camera", tall.items(Kind::Video));
    tape.items(ANA, "camera", sound.items(Kind::Audio));
    tape.leave(6_050, ANA);
    let outcome = record(tape, 7_000);
    outcome.check(6_000, &[3_000]);
    let sizes: Vec<_> =
        outcome.manifest.files[0].report.as_ref().unwrap().sizes.iter().map(|size| (size.1, size.2)).collect();
    assert_eq!(sizes, [(320, 180), (180, 320)]);
    assert_eq!(outcome.real(Kind::Video).count(), 180);
}

#[test]
fn who_comes_back_with_another_connection_goes_on_in_the_same_file() {
    let mut tape = ana(0);
    // The connection is gone for 20 s; the person is not.
    let before = tape.sender(0, 2);
    let after = Sender { ssrc: 500, seq: 1, rtp_time: 77, wall_ms: 26_000, ..tape.sender(26_000, 2) };
    for kind in [Kind::Audio, Kind::Video] {
        tape.items(ANA, "camera", before.items(kind));
        tape.end(6_100, ANA, "camera", kind);
        tape.start(26_000, ANA, "camera", kind);
        tape.items(ANA, "camera", after.items(kind));
    }
    tape.leave(32_050, ANA);
    let outcome = record(tape, 33_000);
    outcome.check(32_000, &[26_000]);
    assert!(outcome.has_gap(Kind::Audio, "ended", 6_000, 26_000), "{:?}", outcome.manifest.files[0].gaps);
    assert_eq!((outcome.real(Kind::Video).count(), outcome.real(Kind::Audio).count()), (360, 600));
}

#[test]
fn two_who_are_away_for_forty_seconds_come_back_into_the_same_recording() {
    for (linger_ms, recordings) in [(60_000, 1), (30_000, 2)] {
        let mut tape = Tape::new(linger_ms);
        // Who comes back after so long is a new participant; the room was closed meanwhile.
        for (from_ms, people) in [(0, [ANA, "pbbbbbbbbbb"]), (46_000, ["pcccccccccc", "pdddddddddd"])] {
            for (n, who) in people.into_iter().enumerate() {
                tape.join(from_ms, who);
                let sender = tape.sender(from_ms, 2);
                let ssrc = 100 * (n as u32 + 1) + from_ms as u32;
                tape.items(who, "camera", Sender { ssrc, wall_ms: from_ms, ..sender }.both());
                for kind in [Kind::Audio, Kind::Video] {
                    tape.start(from_ms, who, "camera", kind);
                }
                tape.leave(from_ms + 6_050, who);
            }
            tape.at(from_ms + 6_060, json!({"closed": false}));
            if from_ms == 0 || recordings == 2 {
                tape.begins(from_ms);
            }
            if from_ms == 0 {
                tape.at(45_990, json!({"opened": "team"}));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let all = tape.play(130_000, dir.path());
        assert_eq!(all.len(), recordings, "linger of {linger_ms} ms");
        for recording in &all {
            judge_all(&files(recording));
            assert_eq!(recording.1.files.len(), 4 / recordings);
        }
        if let [(_, manifest)] = &all[..] {
            let late = manifest.files.iter().filter(|file| file.offset_ms.abs_diff(46_000) < 60);
            assert_eq!((late.count(), manifest.duration_ms / 100), (2, 520), "{:?}", manifest.files);
        }
    }
}

#[test]
fn pause_cuts_all_tracks_at_one_instant_and_is_listed() {
    let mut tape = ana(0);
    let sender = tape.sender(0, 6);
    tape.items(ANA, "camera", sender.both());
    tape.at(5_000, json!("pause"));
    tape.at(11_000, json!("resume"));
    tape.leave(18_050, ANA);
    let outcome = record(tape, 19_000);
    // The clip has a keyframe at 12 s; what comes before it cannot be shown.
    outcome.check(12_000, &[6_000]);
    let pauses = &outcome.manifest.pauses;
    assert_eq!((pauses.len(), pauses[0].lasted_ms), (1, Some(6_000)), "{pauses:?}");
    assert!(pauses[0].at_ms.abs_diff(5_000) < 60, "{pauses:?}");
    assert_eq!(outcome.real(Kind::Audio).count(), 600);
    assert!(outcome.manifest.duration_ms.abs_diff(12_020) < 60, "{}", outcome.manifest.duration_ms);
}

#[test]
fn late_and_missing_tracks_are_in_time_from_0() {
    // Kind, when it begins; the other one begins at 0, or never.
    for (late, late_ms) in
        [(Kind::Video, 8_000), (Kind::Audio, 5_000), (Kind::Video, 99_000), (Kind::Audio, 99_000), (Kind::Video, 700)]
    {
        let mut tape = Tape::new(0);
        tape.join(0, ANA);
        let early = if late == Kind::Video { Kind::Audio } else { Kind::Video };
        tape.start(0, ANA, "camera", early);
        tape.begins(0);
        let sent = tape.sender(0, 4).items(early);
        tape.items(ANA, "camera", sent);
        if late_ms < 12_000 {
            tape.start(late_ms, ANA, "camera", late);
            let sender = Sender { wall_ms: late_ms, ..tape.sender(late_ms, 4) };
            let sent = part(&tape, &sender, late, 0, 12_000);
            tape.items(ANA, "camera", sent);
        }
        tape.leave(12_050, ANA);
        let outcome = record(tape, 13_000);
        let file = &outcome.manifest.files[0];
        assert!(file.duration_ms.abs_diff(12_000) < 80, "{late} {late_ms}: {}", file.duration_ms);
        let first = outcome.real(late).next();
        if late_ms > 12_000 {
            assert!(first.is_none() && if late == Kind::Video { file.video.is_none() } else { file.audio.is_none() });
        } else {
            let times: Vec<_> = outcome.video.iter().take(12).map(|block| (block.time_ms, block.is_fill)).collect();
            let first = first.unwrap();
            assert!(first.time_ms.abs_diff(late_ms) < 60, "{late} {late_ms}: {} {times:?} {file:?}", first.time_ms);
            outcome.check(12_000, &[]);
        }
    }
}

#[test]
fn each_share_of_a_screen_is_a_file_however_often() {
    let mut tape = ana(0);
    let camera = tape.sender(0, 80);
    tape.items(ANA, "camera", camera.both());
    for n in 0..20 {
        let from_ms = 1_000 + n * 12_000;
        tape.start(from_ms, ANA, "screen1", Kind::Video);
        let screen = Sender { ssrc: 4_000 + n as u32, seq: n as u16, wall_ms: from_ms, ..tape.sender(from_ms, 1) };
        tape.items(ANA, "screen1", screen.items(Kind::Video));
        tape.end(from_ms + 3_020, ANA, "screen1", Kind::Video);
    }
    tape.leave(240_050, ANA);
    let dir = tempfile::tempdir().unwrap();
    let all = tape.play(241_000, dir.path());
    let manifest = &all[0].1;
    assert_eq!(manifest.files.len(), 21, "{:?}", manifest.files.iter().map(|file| &file.file).collect::<Vec<_>>());
    let screens: Vec<_> = manifest.files.iter().filter(|file| file.file.contains("screen1")).collect();
    for (n, screen) in screens.iter().enumerate() {
        let begins = 1_000 + n as u64 * 12_000;
        assert!(screen.offset_ms.abs_diff(begins) < 60, "share {n} at {}", screen.offset_ms);
        assert_eq!((screen.counters["video_frames"], screen.audio.is_none()), (90, true), "share {n}: {screen:?}");
    }
    judge_all(&files(&all[0]));
}

/// Three seconds of another size, 30 pictures a second.
fn small_clip(size: &str) -> Vec<Frame> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.ivf");
    make(&path, size);
    clip::ivf(&std::fs::read(&path).unwrap())
}

fn make(path: &Path, size: &str) {
    let source = format!("testsrc=size={size}:rate=30:duration={}", Duration::from_secs(3).as_secs());
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source])
        .args("-c:v libvpx -b:v 60k -g 60 -auto-alt-ref 0 -f ivf".split(' '))
        .arg(path)
        .status();
    assert!(status.expect("ffmpeg is needed").success());
}
