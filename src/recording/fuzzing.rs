//! What is fuzzed of recordings: files that come from anywhere, the way from packets to a file, and codec headers. `fuzz/` calls
//! these; the tests here run them over its corpora and over mutations of them.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reelay_signaling::Kind;

use super::catalog::Entry;
use super::cuts::Cuts;
use super::faulty::FaultyDisk;
use super::feed::Feed;
use super::file::{Block, SegmentFile};
use super::manifest::{parse_file_name, parse_manifest};
use super::repair::{Outcome, repair};
use super::timeline::Shape;
use crate::media::{SenderReport, TapItem, TapPacket};
use crate::rtp::{Codec, av1, opus, red, vp8, vp9};
use crate::webm::check::{Judgement, State, check};
use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack, index};

const PART: &str = "/r/a.webm.part";
const FILE: &str = "/r/a.webm";

fn header(codec: VideoCodec) -> Header {
    Header {
        video: Some(VideoTrack { codec, size: None }),
        audio: Some(AudioTrack { channels: 2 }),
        date_ms: 0,
        name: String::new(),
    }
}

/// Reader, check, repair and sidecar. The first byte chooses what stands before the rest: nothing, or a header of ours.
///
/// # Panics
/// When a repair leaves a file that another repair changes.
pub fn files(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let mut bytes = match mode % 3 {
        0 => Vec::new(),
        1 => header(VideoCodec::Vp8).encode([1, 2]).bytes,
        _ => header(VideoCodec::Av1).encode([1, 2]).bytes,
    };
    bytes.extend_from_slice(rest);
    let _ = index::read(rest);
    for state in [State::Growing, State::Closed] {
        let _ = check(&bytes[..], bytes.len() as u64, state);
    }
    let disk = FaultyDisk::default();
    disk.state().files.insert(PART.into(), bytes);
    let Ok(report) = repair(&disk.storage(), Path::new(PART)) else { return };
    if report.outcome == Outcome::Repaired {
        let before = disk.files();
        let again = repair(&disk.storage(), Path::new(FILE)).expect("it was repaired just now");
        assert_eq!(again.outcome, Outcome::Whole);
        assert!(disk.files() == before, "a second repair changed bytes");
    }
}

/// Packets in any order, with any content, into a file.
///
/// # Panics
/// When the file breaks a rule that does not depend on what was sent.
pub fn chain(data: &[u8]) {
    let Some(said) = recorded(data) else { return };
    // What senders put into frames, and times that contradict each other, are theirs; the rest is ours.
    let ours = ["R2", "R3", "R4", "R6", "R9", "R10", "R11", "R13"];
    let fault = said.faults.iter().find(|fault| ours.contains(&fault.rule));
    assert_eq!(fault, None);
}

/// What the check says of the file; `None` if nothing came out.
fn recorded(data: &[u8]) -> Option<Judgement> {
    let mut script = Script { data, now: Instant::now(), last: [(0, 0); 2], ntp: 0 };
    let zero = script.now;
    let codec = match script.byte() % 3 {
        0 => Codec::Vp8,
        1 => Codec::Vp9,
        _ => Codec::Av1,
    };
    let in_file = match codec {
        Codec::Vp9 => VideoCodec::Vp9,
        Codec::Av1 => VideoCodec::Av1,
        _ => VideoCodec::Vp8,
    };
    let shape = Shape { audio: true, video: Some(codec) };
    let mut feed = Feed::new(shape, Duration::from_secs(2), zero, Cuts::default());
    let disk = FaultyDisk::default();
    let mut file = SegmentFile::create(disk.storage(), Path::new(FILE), &header(in_file)).expect("the disk is empty");
    let mut now = zero;
    while !script.data.is_empty() && now - zero < LONGEST {
        let item = script.step(&mut feed, codec);
        // As the recorder does: time passes in small steps, then comes what arrived.
        while now < script.now {
            now = script.now.min(now + TICK);
            feed.on_time(now);
            while let Some(block) = feed.poll(now) {
                write(&mut file, &block);
            }
            let _ = feed.wants_keyframe(now);
        }
        if let Some(mut item) = item {
            let _ = feed.on_item(now, &mut item);
        }
    }
    feed.finish(script.now);
    while let Some(block) = feed.drain() {
        write(&mut file, &block);
    }
    let clamped = file.stats().clamped;
    file.close().expect("the disk has room")?;
    assert_eq!(clamped, 0, "the timeline gives times in order");
    let bytes = disk.files().remove(Path::new(FILE)).expect("it was closed");
    Some(check(&bytes[..], bytes.len() as u64, State::Closed).expect("it is a file of ours"))
}

fn write(file: &mut SegmentFile, block: &super::lane::Block) {
    if let Some(private) = &block.codec_private {
        file.set_codec_private(private);
    }
    let written = file.write(Block {
        kind: block.kind,
        time_ms: block.time_ms,
        keyframe: block.is_keyframe,
        fill: block.is_fill,
        data: &block.data,
        size: block.size,
    });
    written.expect("the disk has room");
}

/// Descriptors and headers of all codecs.
pub fn headers(data: &[u8]) {
    let _ = (vp8::descriptor(data), vp8::keyframe_size(data));
    let _ = (vp9::descriptor(data), vp9::keyframe_size(data));
    let _ = (av1::aggregation(data), av1::sequence_in(data));
    let _ = av1::unit(&[Bytes::copy_from_slice(data)]);
    let (half, rest) = data.split_at(data.len() / 2);
    let _ = av1::unit(&[Bytes::copy_from_slice(half), Bytes::copy_from_slice(rest)]);
    let _ = (opus::toc(data), red::split(data));
}

/// What may lie in a recording's folder as `manifest.json`.
///
/// # Panics
/// When a manifest that was read says something else after it was written, or names a file that is none of ours.
pub fn manifests(data: &[u8]) {
    let _ = Entry::parse(&String::from_utf8_lossy(data));
    let Ok(manifest) = parse_manifest(data) else { return };
    assert!(manifest.files.iter().all(|entry| parse_file_name(&entry.file).is_some()));
    let again = parse_manifest(&manifest.to_json()).expect("it is one of ours");
    assert_eq!(again, manifest);
}

/// Bytes read as a sequence of what may come through a tap.
struct Script<'a> {
    data: &'a [u8],
    now: Instant,
    /// Sequence number and time of the last packet of each kind.
    last: [(u16, u32); 2],
    ntp: u64,
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    /// What arrives at `now`, if anything does; mutes at once.
    fn step(&mut self, feed: &mut Feed, video: Codec) -> Option<TapItem> {
        let what = self.byte();
        let kind = if what & 1 == 0 { Kind::Video } else { Kind::Audio };
        let codec = if kind == Kind::Video { video } else { Codec::Opus };
        match what {
            0..=199 => {
                let step_ms = u64::from(self.byte() % 64);
                self.now += Duration::from_millis(step_ms);
                // Up to 199 ms forward or 56 ms back.
                let (seq_step, time_step) = (self.byte() as i8, self.byte());
                let time_step = if time_step < 200 { i32::from(time_step) } else { i32::from(time_step as i8) };
                let (flags, len) = (self.byte(), usize::from(self.byte()));
                let (seq, time) = &mut self.last[kind as usize];
                *seq = seq.wrapping_add_signed(seq_step.into());
                *time = time.wrapping_add_signed(time_step * (codec.clock_hz() / 1000) as i32);
                let (payload, rest) = self.data.split_at(len.min(self.data.len()));
                self.data = rest;
                let packet = TapPacket {
                    kind,
                    codec,
                    ssrc: u32::from(flags >> 1 & 1) + kind as u32 * 10,
                    seq: *seq,
                    rtp_time: *time,
                    marker: flags & 1 == 1,
                    arrival: self.now,
                    audio_level: (flags & 4 != 0).then_some(flags >> 3),
                    payload: Bytes::copy_from_slice(payload),
                };
                return Some(TapItem::Packet(packet));
            }
            200..=219 => {
                self.ntp = self.ntp.wrapping_add(u64::from(self.byte()) << 26);
                let rtp_time = self.last[kind as usize].1.wrapping_add(u32::from(self.byte()) << 6);
                let ssrc = kind as u32 * 10;
                let report = SenderReport { kind, ssrc, ntp: self.ntp, rtp_time, arrival: self.now };
                return Some(TapItem::Report(report));
            }
            220..=235 => {
                let step_ms = u64::from(self.byte()) * 20;
                self.now += Duration::from_millis(step_ms);
            }
            236..=239 => return Some(TapItem::Ended(kind)),
            240..=243 => return Some(TapItem::Overflow { packets: 3 }),
            244..=251 => feed.set_muted(kind, what & 2 != 0),
            _ => feed.require_keyframe(),
        }
        None
    }
}

const TICK: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file of a corpus, and mutations of it with a seed.
    fn run(name: &str, target: fn(&[u8]), mutations: u64) {
        let seeds: Vec<Vec<u8>> = paths(name).iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert!(!seeds.is_empty());
        seeds.iter().for_each(|seed| target(seed));
        // A longer run: REELAY_FUZZ=1000000 cargo test fuzzing
        let mutations = std::env::var("REELAY_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(mutations);
        let first = std::env::var("REELAY_FUZZ_FROM").ok().and_then(|from| from.parse().ok()).unwrap_or(0);
        for number in first..first + mutations {
            let mutated = mutate(&seeds, number);
            if std::panic::catch_unwind(|| target(&mutated)).is_err() {
                panic!("{name}: mutation {number} (REELAY_FUZZ_FROM={number} REELAY_FUZZ=1), bytes {mutated:02x?}");
            }
        }
    }

    fn paths(name: &str) -> Vec<std::path::PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    fn mutate(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
        let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678_9ABC_DEF1;
        let mut random = move |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % limit.max(1)
        };
        let mut data = seeds[random(seeds.len())].clone();
        for _ in 0..=random(6) {
            let at = random(data.len());
            let len = random(24).min(data.len() - at);
            match random(7) {
                0 if !data.is_empty() => data[at] ^= 1 << random(8),
                1 if !data.is_empty() => data[at] = [0, 1, 0x7F, 0x80, 0xFF, 0xA3, 0x1F, 0xE7][random(8)],
                2 => drop(data.drain(at..at + len)),
                3 => data.truncate(at),
                4 => {
                    let part = data[at..at + len].to_vec();
                    let to = random(data.len());
                    data.splice(to..to, part);
                }
                5 => {
                    let other = &seeds[random(seeds.len())];
                    let from = random(other.len());
                    let part = &other[from..(from + random(200)).min(other.len())];
                    data.splice(at..at, part.iter().copied());
                }
                _ => data.splice(at..at, (0..len).map(|_| random(256) as u8).collect::<Vec<_>>()).for_each(drop),
            }
        }
        data
    }

    #[test]
    fn files_from_anywhere() {
        run("files", files, 400);
    }

    #[test]
    fn manifests_from_anywhere() {
        run("manifests", manifests, 20_000);
    }

    #[test]
    fn packets_to_a_file() {
        run("chain", chain, 400);
    }

    /// The corpus holds calls as they are: loss, an outage, a track that stops, another SSRC, mute. None may break a rule.
    #[test]
    fn calls_of_the_corpus_are_sound() {
        for path in paths("chain") {
            let said = recorded(&std::fs::read(&path).unwrap()).unwrap();
            assert!(said.is_sound(), "{}: {:?}", path.display(), said.faults);
        }
    }

    #[test]
    fn codec_headers() {
        run("headers", headers, 20_000);
    }
}
