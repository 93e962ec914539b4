//! Long calls in virtual time: reports that fail, step and jump; and an hour as ffmpeg plays it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::recording::file::{self, SegmentFile};
use crate::recording::storage::Disk;
use crate::webm::{AudioTrack, Header};

/// Changes what arrives of reports: drops some, falsifies others.
fn reports(list: &mut Vec<Arrival>, mut change: impl FnMut(i64, &mut SenderReport) -> bool) {
    list.retain_mut(|arrival| match &mut arrival.item {
        TapItem::Report(report) => change(arrival.at_us, report),
        _ => true,
    });
}

fn ntp_moved(report: &mut SenderReport, by_us: i64) {
    report.ntp = NtpTime::from_us(NtpTime(report.ntp).us() + by_us).0;
}

#[test]
fn missing_reports_and_false_ones_do_not_move_sound_against_pictures() {
    let wall = |at: i64| match at / (30 * 60 * SECOND) {
        // Small steps, and one that is not more than an outlier.
        0..4 => steady(at),
        4..9 => steady(at) + 700_000,
        9..14 => steady(at) + 350_000,
        _ => steady(at) - 3 * SECOND,
    };
    let errors = ten_hours_with(&wall, 100.0, -100.0, &mut |kind, list| {
        let mut n = 0;
        reports(list, |at, report| {
            n += 1;
            // An hour and a half without any, then long times with one in ten.
            let is_silent = match kind {
                Kind::Audio => (2 * HOUR..3 * HOUR).contains(&at),
                Kind::Video => (5 * HOUR..13 * HOUR / 2).contains(&at),
            };
            let is_sparse = (7 * HOUR..9 * HOUR).contains(&at);
            if n % 97 == 0 {
                ntp_moved(report, if n % 2 == 0 { 4 * SECOND } else { -900_000 });
            }
            !is_silent && (!is_sparse || n % 10 == 0)
        });
    });
    check_sync(&errors);
}

#[test]
fn ten_hours_without_any_report_stay_in_sync_by_arrival() {
    let errors = ten_hours_with(&steady, 100.0, -100.0, &mut |_, list| reports(list, |_, _| false));
    // Pictures are 40 ms longer under way than sound, and nobody can know that.
    for (minute, error) in (1..).zip(&errors) {
        assert!((error + 40.0).abs() < 20.0, "{error} ms at minute {minute}");
    }
}

/// An hour of sound as `ffmpeg -i x.webm -f wav` plays it, which goes by lengths and not by times; in seconds.
fn played_hour(drift_ppm: f64, packets: &[Vec<u8>]) -> (f64, Feed) {
    let mut call = Call::new(Shape { audio: true, video: None });
    let mut arrivals = Source { drift_ppm, ..audio() }.send(0, HOUR, call.zero, &steady, 41);
    let mut next = packets.iter().cycle();
    for arrival in &mut arrivals {
        if let (TapItem::Packet(packet), Some(sound)) = (&mut arrival.item, next.next()) {
            packet.payload = sound.clone().into();
        }
    }
    call.run(&arrivals, HOUR + SECOND);
    let (blocks, feed) = call.finish();
    let end_ms = blocks.last().map_or(0, |block| block.time_ms + 20);
    assert!((3_599_900..3_600_100).contains(&end_ms), "the file ends at {end_ms} ms");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hour.webm");
    let header = Header { video: None, audio: Some(AudioTrack { channels: 1 }), date_ms: 0, name: String::new() };
    let mut file = SegmentFile::create(Arc::new(Disk), &path, &header).expect("a file");
    for block in &blocks {
        let file::Written::At(_) = file
            .write(file::Block {
                kind: block.kind,
                time_ms: block.time_ms,
                keyframe: true,
                fill: block.is_fill,
                data: &block.data,
                size: None,
            })
            .expect("there is room")
        else {
            panic!("a block was skipped");
        };
    }
    file.close().expect("it is closed");
    check_sound(&path);
    (seconds_of_wav(&path), feed)
}

fn check_sound(path: &Path) {
    let bytes = std::fs::read(path).expect("it is there");
    let said = crate::webm::check::check(&bytes[..], bytes.len() as u64, crate::webm::check::State::Closed);
    let said = said.expect("it is a file of ours");
    assert!(said.is_sound(), "{:?}", said.faults);
}

fn seconds_of_wav(path: &Path) -> f64 {
    let wav = path.with_extension("wav");
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(path)
        .args(["-ar", "8000", "-ac", "1", "-c:a", "pcm_u8"])
        .arg(&wav)
        .output()
        .expect("ffmpeg is needed");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::metadata(&wav).expect("it was made").len();
    // A RIFF header of less than 100 bytes is a hundredth of a second.
    (bytes - 44) as f64 / 8000.0
}

/// Packets of a tone, and of silence.
fn tone() -> Vec<Vec<u8>> {
    let file = include_bytes!("../../../tests/data/clip.ogg");
    let mut clip = crate::cli::client::clip::Clip::default();
    clip.add(file).expect("it is an Ogg file");
    clip.audio.iter().map(|unit| unit.data.to_vec()).collect()
}

#[test]
fn an_hour_of_a_fast_or_slow_sender_plays_as_an_hour_without_its_times_too() {
    let silence = vec![vec![0xf8, 0xff, 0xfe]];
    for (drift_ppm, packets) in [(100.0, &tone()), (-100.0, &silence)] {
        let (seconds, feed) = played_hour(drift_ppm, packets);
        assert!((seconds - 3600.0).abs() < 0.040, "{seconds} s at {drift_ppm} ppm");
        let (surplus, filled) = (feed.timeline().surplus, feed.timeline().filled_audio_us / 20_000);
        let expected = if drift_ppm > 0.0 { (16..=18, 0..=0) } else { (0..=0, 16..=18) };
        assert!(expected.0.contains(&surplus) && expected.1.contains(&filled), "{surplus} left out, {filled} filled");
    }
}
