//! Long calls in virtual time: reports that fail, step and jump; and an hour as ffmpeg plays it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::recording::file::{self, SegmentFile};
use crate::recording::storage::Disk;
use crate::webm::scan::{Item, OnDamage, Walker};
use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack};

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

/// What ffmpeg's sources describe, encoded and taken apart: pictures and packets of sound.
fn encoded(seconds: u32, picture: &str, sound: &str) -> [Vec<Bytes>; 2] {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.webm");
    ffmpeg(&[
        &["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", &seconds.to_string()],
        &["-c:v", "libvpx", "-b:v", "50k", "-g", "10", "-keyint_min", "10", "-auto-alt-ref", "0"][..],
        &["-c:a", "libopus", "-b:a", "16k", "-application", "lowdelay", path.to_str().expect("a path of ours")],
    ]);
    let bytes = std::fs::read(&path).expect("it was made");
    let front = crate::webm::front::read(&bytes[..], bytes.len() as u64).expect("it is WebM");
    let first = front.first_cluster_at.expect("it has clusters");
    let mut walker = Walker::new(&bytes[..], first, bytes.len() as u64, OnDamage::Stop);
    let mut tracks = [Vec::new(), Vec::new()];
    while let Some(item) = walker.next_item().expect("it is in memory") {
        let Item::Block(block) = item else { continue };
        let data = Bytes::copy_from_slice(&bytes[block.data_at as usize..][..block.data_len as usize]);
        let kind = if block.track == 1 { Kind::Video } else { Kind::Audio };
        tracks[kind as usize].push(data);
    }
    tracks
}

/// Puts real pictures and sound, over and over, into what is sent.
fn play(arrivals: &mut [Arrival], tracks: &[Vec<Bytes>; 2]) {
    let mut next = [0, 0];
    for arrival in arrivals {
        let TapItem::Packet(packet) = &mut arrival.item else { continue };
        let (track, n) = (&tracks[packet.kind as usize], &mut next[packet.kind as usize]);
        let data = &track[*n % track.len()];
        // As browsers say it; here a beep of five packets each second.
        packet.audio_level = (packet.kind == Kind::Audio).then_some(if *n % 50 < 6 { 5 } else { 90 });
        packet.payload = match packet.kind {
            Kind::Video => [&[0x90, 0x80, (*n >> 8) as u8 | 0x80, *n as u8], &data[..]].concat().into(),
            Kind::Audio => data.clone(),
        };
        *n += 1;
    }
}

/// The blocks of a call of an hour, as a file that is sound.
fn hour(mut call: Call, arrivals: &[Arrival], path: &Path) -> Feed {
    let video = call.feed.shape().video.map(|_| VideoTrack { codec: VideoCodec::Vp8, size: None });
    call.run(arrivals, HOUR + SECOND);
    let (blocks, feed) = call.finish();
    let end_ms = blocks.last().map_or(0, |block| block.time_ms + 20);
    assert!((3_599_900..3_600_150).contains(&end_ms), "the file ends at {end_ms} ms");
    let header = Header { video, audio: Some(AudioTrack { channels: 1 }), date_ms: 0, name: String::new() };
    let mut file = SegmentFile::create(Arc::new(Disk), path, &header).expect("a file");
    for block in &blocks {
        let file::Written::At(_) = file
            .write(file::Block {
                kind: block.kind,
                time_ms: block.time_ms,
                keyframe: block.is_keyframe,
                fill: block.is_fill,
                data: &block.data,
                size: block.size,
            })
            .expect("there is room")
        else {
            panic!("a block was skipped");
        };
    }
    file.close().expect("it is closed");
    let bytes = std::fs::read(path).expect("it is there");
    let said = crate::webm::check::check(&bytes[..], bytes.len() as u64, crate::webm::check::State::Closed);
    let said = said.expect("it is a file of ours");
    assert!(said.is_sound(), "{:?}", said.faults);
    feed
}

fn ffmpeg(arguments: &[&[&str]]) -> Vec<u8> {
    let arguments = arguments.concat();
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error"]).args(arguments).output();
    let output = output.expect("ffmpeg is needed");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The sound as it is played by lengths, not by times: 8,000 samples a second.
fn wave(path: &Path) -> Vec<i16> {
    let path = path.to_str().expect("a path of ours");
    let bytes = ffmpeg(&[&["-i", path, "-map", "0:a", "-ar", "8000", "-ac", "1", "-f", "s16le", "pipe:1"]]);
    bytes.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect()
}

#[test]
fn an_hour_of_a_slow_sender_plays_as_an_hour_without_its_times_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hour.webm");
    let call = Call::new(Shape { audio: true, video: None });
    let mut arrivals = Source { drift_ppm: -100.0, ..audio() }.send(0, HOUR, call.zero, &steady, 41);
    let silence = vec![Bytes::from_static(&[0xf8, 0xff, 0xfe])];
    play(&mut arrivals, &[silence, Vec::new()]);
    let feed = hour(call, &arrivals, &path);
    let seconds = wave(&path).len() as f64 / 8000.0;
    assert!((seconds - 3600.0).abs() < 0.040, "{seconds} s");
    let (surplus, filled) = (feed.timeline().surplus, feed.timeline().filled_audio_us / 20_000);
    assert!(surplus == 0 && (16..=18).contains(&filled), "{surplus} left out, {filled} filled");
}

#[test]
fn an_hour_of_a_fast_sender_plays_as_an_hour_and_each_beep_is_with_its_flash() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hour.webm");
    let call = Call::both();
    // One second of both, 10 pictures a second: white first, and loud.
    let flash = "color=black:s=64x36:r=10,drawbox=c=white:t=fill:enable='lt(mod(n,10),2)'";
    let beep = "aevalsrc='0.01*(random(0)-0.5)+if(lt(mod(t,1),0.1),0.7*sin(2*PI*1000*t),0)':s=48000";
    let tracks = encoded(10, flash, beep);
    let sound = Source { drift_ppm: 100.0, ..audio() };
    let picture = Source { drift_ppm: 100.0, frame_us: 100_000, ..video() };
    let mut arrivals =
        merged(vec![sound.send(0, HOUR, call.zero, &steady, 42), picture.send(0, HOUR, call.zero, &steady, 43)]);
    play(&mut arrivals, &[tracks[0][..500].to_vec(), tracks[1][..100].to_vec()]);
    let feed = hour(call, &arrivals, &path);
    let wave = wave(&path);
    let seconds = wave.len() as f64 / 8000.0;
    assert!((seconds - 3600.0).abs() < 0.040, "{seconds} s");
    assert!((16..=18).contains(&feed.timeline().surplus), "{} left out", feed.timeline().surplus);
    let (mut beeps, mut quiet) = (Vec::new(), usize::MAX);
    for (n, sample) in wave.iter().enumerate() {
        let is_loud = sample.unsigned_abs() > 6_000;
        if is_loud && quiet > 2_400 {
            beeps.push(n as f64 / 8.0);
        }
        quiet = if is_loud { 0 } else { quiet.saturating_add(1) };
    }
    let print = "signalstats,metadata=mode=print:key=lavfi.signalstats.YAVG:file=-";
    // By the file's own times, not by steps of a guessed frame rate.
    let by_times = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"];
    let text = ffmpeg(&[&["-i", path.to_str().expect("ours"), "-map", "0:v", "-vf", print], &by_times]);
    let (mut flashes, mut at, mut was_white) = (Vec::new(), 0.0, false);
    for line in String::from_utf8_lossy(&text).lines() {
        if let Some((_, time)) = line.split_once("pts_time:") {
            at = time.trim().parse::<f64>().expect("a time") * 1000.0;
        } else if let Some((_, bright)) = line.split_once("YAVG=") {
            let is_white = bright.trim().parse::<f64>().expect("a number") > 128.0;
            if is_white && !was_white {
                flashes.push(at);
            }
            was_white = is_white;
        }
    }
    // The sender's hour is 0.36 s shorter: it begins one second more.
    assert_eq!((flashes.len(), beeps.len()), (3601, 3601));
    let worst = flashes.iter().zip(&beeps).map(|(flash, beep)| (beep - flash).abs()).fold(0.0, f64::max);
    assert!(worst < 40.0, "{worst} ms apart");
}

#[test]
fn sound_that_falls_behind_time_is_kept_and_not_replaced_by_silence() {
    // A busy computer loses a seventh of the sound that it captures, and counts on as if nothing were missing.
    let mut call = Call::both();
    let sound = Source { drift_ppm: -140_000.0, ..audio() };
    let to = 60 * SECOND;
    let arrivals = merged(vec![sound.send(0, to, call.zero, &steady, 1), video().send(0, to, call.zero, &steady, 2)]);
    let sent = arrivals
        .iter()
        .filter(|arrival| matches!(&arrival.item, TapItem::Packet(packet) if packet.kind == Kind::Audio))
        .count();
    call.run(&arrivals, to + SECOND);
    let (blocks, feed) = call.finish();
    let kept = real(&blocks, Kind::Audio);
    assert!(kept.len() * 10 >= sent * 9, "{} of {sent} packets, {:?}", kept.len(), feed.timeline());
    let worst = kept.iter().map(|block| error_ms(block).abs()).fold(0.0, f64::max);
    assert!(worst < 3_000.0, "{worst} ms");
}
