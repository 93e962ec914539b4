//! Files of ours before the judges of others: ffprobe, a full silent decode by ffmpeg, mediaconch and mkvmerge.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use reelay::recording::file::{Block, SegmentFile};
use reelay::recording::storage::Disk;
use reelay::webm::check::{State, check};
use reelay::webm::{AudioTrack, Header, VideoCodec, VideoTrack};
use reelay_signaling::Kind;

use crate::clip::{self, CLIP_MS, Frame};

pub fn header(video: bool, audio: bool) -> Header {
    Header {
        video: video.then_some(VideoTrack { codec: VideoCodec::Vp8, size: None }),
        audio: audio.then_some(AudioTrack { channels: 2 }),
        date_ms: 1_790_000_000_000,
        name: "camera".into(),
    }
}

/// Both tracks in the order of time, `rounds` times the clip.
pub fn frames(rounds: u64) -> Vec<(Kind, Frame)> {
    let (video, audio) = (clip::video(), clip::audio());
    let audio = &audio[..(CLIP_MS / 20) as usize];
    let mut all = Vec::new();
    for round in 0..rounds {
        let moved = |frame: &Frame| Frame { time_ms: frame.time_ms + round * CLIP_MS, ..frame.clone() };
        all.extend(video.iter().map(|frame| (Kind::Video, moved(frame))));
        all.extend(audio.iter().map(|frame| (Kind::Audio, moved(frame))));
    }
    all.sort_by_key(|(kind, frame)| (frame.time_ms, *kind == Kind::Audio));
    all
}

pub fn put(file: &mut SegmentFile, kind: Kind, frame: &Frame) {
    let block =
        Block { kind, time_ms: frame.time_ms, keyframe: frame.keyframe, fill: false, data: &frame.data, size: None };
    file.write(block).unwrap();
}

/// Writes what `feed` gives, closes, and returns the path.
fn record(dir: &Path, header: &Header, feed: impl FnOnce(&mut SegmentFile)) -> PathBuf {
    let mut file = SegmentFile::create(Arc::new(Disk), &dir.join("p1-camera-1.webm"), header).unwrap();
    feed(&mut file);
    file.close().unwrap().unwrap().path
}

/// Fails unless every judge is content. Returns packets of video and audio as ffprobe counts them.
pub fn judge(path: &Path) -> (u64, u64) {
    let file = path.to_str().unwrap();
    let counts = packets(path);
    decode(file);
    let verdict = silent("mediaconch", &["-fs", file]);
    assert!(verdict.starts_with("pass!"), "mediaconch: {verdict}");
    let copy = path.with_extension("copy.webm");
    let said = silent("mkvmerge", &["-q", "--webm", "-o", copy.to_str().unwrap(), file]);
    assert!(said.is_empty(), "mkvmerge: {said}");
    let bytes = std::fs::read(path).unwrap();
    let own = check(&bytes[..], bytes.len() as u64, State::Closed).unwrap();
    assert!(own.is_sound(), "{:?}", own.faults);
    counts
}

/// The same for many files, in few processes. Says nothing of what is in them.
pub fn judge_all(paths: &[PathBuf]) {
    for some in paths.chunks(25) {
        for path in some {
            let bytes = std::fs::read(path).unwrap();
            let own = check(&bytes[..], bytes.len() as u64, State::Closed).unwrap();
            assert!(own.is_sound(), "{}: {:?}", path.display(), own.faults);
            packets(path);
        }
        let names: Vec<&str> = some.iter().map(|path| path.to_str().unwrap()).collect();
        // One process decodes all of them.
        let mut arguments = vec!["-nostdin", "-v", "warning", "-xerror"];
        names.iter().for_each(|name| arguments.extend(["-i", name]));
        let maps: Vec<String> = (0..some.len()).map(|n| n.to_string()).collect();
        maps.iter().for_each(|map| arguments.extend(["-map", map]));
        arguments.extend(["-f", "null", "-"]);
        silent("ffmpeg", &arguments);
    }
    judge_containers(paths);
}

/// The same without a decode.
pub fn judge_containers(paths: &[PathBuf]) {
    for some in paths.chunks(25) {
        let names: Vec<&str> = some.iter().map(|path| path.to_str().unwrap()).collect();
        let verdicts = silent("mediaconch", &[&["-fs"], &names[..]].concat());
        let bad: Vec<&str> = verdicts.lines().filter(|line| !line.is_empty() && !line.starts_with("pass!")).collect();
        assert!(bad.is_empty() && verdicts.matches("pass!").count() == some.len(), "mediaconch: {bad:?}");
        // Remuxed one behind the other by mkvmerge.
        let copy = some[0].with_extension("copy.webm");
        for name in names {
            let said = silent("mkvmerge", &["-q", "--webm", "-o", copy.to_str().unwrap(), name]);
            assert!(said.is_empty(), "mkvmerge of {name}: {said}");
        }
        std::fs::remove_file(copy).unwrap();
    }
}

/// A full decode by ffmpeg, without a word.
fn decode(file: &str) {
    silent("ffmpeg", &["-nostdin", "-v", "warning", "-xerror", "-i", file, "-f", "null", "-"]);
}

/// Packets of video and audio as ffprobe counts them, without a word.
pub fn packets(path: &Path) -> (u64, u64) {
    let (counts, said) = counted(path);
    assert!(said.is_empty(), "ffprobe of {}: {said}", path.display());
    counts
}

/// The same, and what ffprobe said.
pub fn counted(path: &Path) -> ((u64, u64), String) {
    let probe = "-v warning -count_packets -show_entries stream=codec_type,nb_read_packets -of csv=p=0";
    let probe: Vec<&str> = probe.split(' ').collect();
    let (counts, said) = run("ffprobe", &[&probe[..], &[path.to_str().unwrap()]].concat());
    let count = |kind: &str| {
        let line = counts.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(','));
        line.map_or(0, |count| count.trim().parse().unwrap_or(0))
    };
    ((count("video"), count("audio")), said)
}

/// Runs a program that has to succeed without a word on stderr; returns its stdout.
fn silent(program: &str, arguments: &[&str]) -> String {
    let (said, errors) = run(program, arguments);
    assert!(errors.is_empty(), "{program} {arguments:?}: {errors}");
    said
}

/// Runs a program that has to succeed; returns its stdout and stderr.
fn run(program: &str, arguments: &[&str]) -> (String, String) {
    // mediaconch keeps a database in the home folder and fails when two of it run at once.
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path());
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed (scripts/needs.sh test lists it): {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {} {errors}", output.status);
    (String::from_utf8_lossy(&output.stdout).into_owned(), errors.into_owned())
}

fn probe(path: &Path, entries: &str) -> String {
    silent("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "csv=p=0", path.to_str().unwrap()])
}

#[test]
fn sound_and_picture_pass_every_judge() {
    let dir = tempfile::tempdir().unwrap();
    let path = record(dir.path(), &header(true, true), |file| {
        for (index, (kind, frame)) in frames(4).iter().enumerate() {
            put(file, *kind, frame);
            if index % 5 == 0 {
                file.flush().unwrap();
            }
        }
    });
    assert_eq!(judge(&path), (360, 600));
    assert_eq!(probe(&path, "format=start_time,duration").trim(), "0.000000,12.000000");
    assert_eq!(probe(&path, "stream=width,height,start_time").trim(), "320,180,0.000000\n0.000000");
}

#[test]
fn one_track_alone_passes_every_judge() {
    for kind in [Kind::Audio, Kind::Video] {
        for declared_both in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let header = header(declared_both || kind == Kind::Video, declared_both || kind == Kind::Audio);
            let path = record(dir.path(), &header, |file| {
                frames(4).iter().filter(|(of, _)| *of == kind).for_each(|(_, frame)| put(file, kind, frame));
            });
            assert_eq!(judge(&path), if kind == Kind::Video { (360, 0) } else { (0, 600) });
            let streams = probe(&path, "stream=codec_type");
            assert_eq!(streams.trim(), kind.to_string(), "a declared track without a block is taken out");
        }
    }
}

#[test]
fn growing_file_shows_every_block_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = SegmentFile::create(Arc::new(Disk), &dir.path().join("a.webm"), &header(true, true)).unwrap();
    let mut written = (0, 0);
    for (index, (kind, frame)) in frames(2).iter().enumerate() {
        put(&mut file, *kind, frame);
        match kind {
            Kind::Video => written.0 += 1,
            Kind::Audio => written.1 += 1,
        }
        if index % 97 == 0 {
            file.flush().unwrap();
            let counts = silent(
                "ffprobe",
                &[
                    "-v",
                    "error",
                    "-count_packets",
                    "-show_entries",
                    "stream=nb_read_packets",
                    "-of",
                    "csv=p=0",
                    file.path().to_str().unwrap(),
                ],
            );
            let counts: Vec<u64> = counts.lines().map(|line| line.trim().parse().unwrap_or(0)).collect();
            assert_eq!(counts, [written.0, written.1], "after block {index}");
        }
    }
}

#[test]
fn fills_and_late_video_pass_every_judge() {
    let dir = tempfile::tempdir().unwrap();
    let (video, audio) = (clip::video(), clip::audio());
    let fill = |file: &mut SegmentFile, time_ms| {
        let data = &video[0].data;
        file.write(Block { kind: Kind::Video, time_ms, keyframe: true, fill: true, data, size: None }).unwrap();
    };
    let path = record(dir.path(), &header(true, true), |file| {
        for time_ms in (0..12_000).step_by(20) {
            if time_ms < 8000 && time_ms % 1000 == 0 {
                fill(file, time_ms);
            }
            for frame in &video {
                if (time_ms..time_ms + 20).contains(&(frame.time_ms + 8000)) {
                    put(file, Kind::Video, &Frame { time_ms: frame.time_ms + 8000, ..frame.clone() });
                }
            }
            let packet = &audio[(time_ms as usize / 20) % 150];
            put(file, Kind::Audio, &Frame { time_ms: time_ms + 19, ..packet.clone() });
        }
    });
    assert_eq!(judge(&path), (1 + 8 + 90, 600));
}

#[test]
fn pictures_of_corrected_and_shaky_clocks_are_decoded_in_silence() {
    // Regular at first, so that ffmpeg takes 30 for the rate; then a little faster, or shaky, or slower than that.
    let later: [fn(u64) -> u64; 4] = [
        |n| n * 1000 / 30 - n * n / 2000,
        |n| n * 1000 / 30 + [0, 14, 3, 9, 12, 1][n as usize % 6],
        |n| n * 1000 / 24,
        |n| n * 1000 / 61,
    ];
    for time in later {
        let dir = tempfile::tempdir().unwrap();
        let path = record(dir.path(), &header(true, false), |file| {
            let (frames, turn) = (clip::video(), 90);
            for n in 0..6 * turn {
                let after = (n >= turn).then(|| time(n - turn)).map_or(n * 1000 / 30, |ms| turn * 1000 / 30 + 33 + ms);
                put(file, Kind::Video, &Frame { time_ms: after, ..frames[n as usize % frames.len()].clone() });
            }
        });
        assert_eq!(judge(&path), (540, 0));
    }
}
