//! Calls that never took place: what the recorder would receive, written as a capture and replayed. Whole recordings of any
//! length, in virtual time, through all of the recorder's own code.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reelay::media::TapItem;
use reelay::recording::{Manifest, replay};
use reelay_signaling::Kind;
use serde_json::{Value, json};

use crate::media::{Sender, Timed};

/// A call in the making. Times are milliseconds since its time 0.
pub struct Tape {
    zero: Instant,
    linger_ms: u64,
    recordings: u32,
    stalls: Vec<(u64, u64)>,
    events: Vec<(u64, Value)>,
}

impl Tape {
    /// An open room. After `linger_ms` without anybody its recording ends.
    pub fn new(linger_ms: u64) -> Self {
        let mut tape = Self { zero: Instant::now(), linger_ms, recordings: 0, stalls: Vec::new(), events: Vec::new() };
        tape.at(0, json!({"opened": "team"}));
        tape
    }

    /// Something happens.
    pub fn at(&mut self, ms: u64, what: Value) {
        self.events.push((ms * 1_000_000, what));
    }

    /// Somebody with a camera and a microphone comes.
    pub fn join(&mut self, ms: u64, who: &str) {
        self.at(ms, json!({"joined": [who, "agreed", null]}));
        self.at(ms, json!({"declared": [who, "camera", true, true]}));
    }

    /// A track begins.
    pub fn start(&mut self, ms: u64, who: &str, source: &str, kind: Kind) {
        let codec = if kind == Kind::Video { "vp8" } else { "opus" };
        self.at(ms, json!({"started": [track(who, source, kind), codec, 2]}));
    }

    /// A track ends; its flow says so too.
    pub fn end(&mut self, ms: u64, who: &str, source: &str, kind: Kind) {
        self.at(ms, json!({"flow_ended": track(who, source, kind)}));
        self.at(ms, json!({"ended": track(who, source, kind)}));
    }

    /// A track is switched off or on.
    pub fn mute(&mut self, ms: u64, who: &str, kind: Kind, is_muted: bool) {
        self.at(ms, json!({"muted": [track(who, "camera", kind), is_muted]}));
    }

    /// Somebody goes.
    pub fn leave(&mut self, ms: u64, who: &str) {
        self.at(ms, json!({"left": [who, "left"]}));
    }

    /// A recording begins here, and needs an id.
    pub fn begins(&mut self, ms: u64) {
        self.recordings += 1;
        let id = format!("01920000-0000-7000-8000-{:012x}", self.recordings);
        self.at(ms, json!({"begun": id}));
    }

    /// The recorder does nothing between these times; what came meanwhile it takes at the end.
    pub fn stall(&mut self, from_ms: u64, to_ms: u64) {
        self.stalls.push((from_ms, to_ms));
    }

    /// A sender whose clip begins at this time.
    pub fn sender(&self, ms: u64, rounds: u64) -> Sender {
        Sender::new(self.zero + Duration::from_millis(ms), rounds)
    }

    /// What arrives of somebody.
    pub fn items(&mut self, who: &str, source: &str, items: impl IntoIterator<Item = Timed>) {
        for (at, item) in items {
            let at_ns = at.duration_since(self.zero).as_nanos() as u64;
            self.events.push((at_ns, line(who, source, &item)));
        }
    }

    /// Runs it until `end_ms`, and gives what was recorded in `out`.
    pub fn play(mut self, end_ms: u64, out: &Path) -> Vec<(PathBuf, Manifest)> {
        let path = self.write(end_ms, out);
        let manifests = replay(&path, out).unwrap_or_else(|error| panic!("{error}"));
        manifests.into_iter().map(|manifest| (out.join(manifest.id.as_str()), manifest)).collect()
    }

    fn write(&mut self, end_ms: u64, out: &Path) -> PathBuf {
        let is_stalled = |ms: u64| self.stalls.iter().any(|(from, to)| (*from..*to).contains(&ms));
        let ticks: Vec<u64> = (1..end_ms / TICK_MS).filter(|tick| !is_stalled(tick * TICK_MS)).collect();
        for tick in ticks {
            self.at(tick * TICK_MS, json!("tick"));
            if tick % 50 == 0 {
                self.at(tick * TICK_MS, json!({"second": tick / 50}));
            }
        }
        self.events.sort_by_key(|(at, _)| *at);
        let mut text =
            json!({"reelay_capture": 1, "zero_unix_ms": 1_790_000_000_000_u64, "start": "auto", "tracks": "av",
            "consent": "notice", "linger_ms": self.linger_ms, "reorder_wait_ms": 2000})
            .to_string();
        for (at, what) in &self.events {
            text.push_str(&format!("\n{}", json!([at, what])));
        }
        text.push('\n');
        std::fs::create_dir_all(out).unwrap();
        let path = out.join("tape.capture");
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// The files of a recording.
pub fn files((folder, manifest): &(PathBuf, Manifest)) -> Vec<PathBuf> {
    manifest.files.iter().map(|entry| folder.join(&entry.file)).collect()
}

fn track(who: &str, source: &str, kind: Kind) -> String {
    format!("{who}/{source}/{kind}")
}

fn line(who: &str, source: &str, item: &TapItem) -> Value {
    match item {
        TapItem::Packet(packet) => json!({"packet": {"track": track(who, source, packet.kind), "codec": packet.codec,
            "ssrc": packet.ssrc, "seq": packet.seq, "rtp": packet.rtp_time, "marker": packet.marker,
            "level": packet.audio_level, "ago": 0, "data": STANDARD_NO_PAD.encode(&packet.payload)}}),
        TapItem::Report(report) => json!({"report": [track(who, source, report.kind), report.ssrc, report.ntp,
            report.rtp_time, 0]}),
        TapItem::Overflow { packets } => json!({"overflow": [track(who, source, Kind::Audio), packets]}),
        TapItem::Ended(kind) => json!({"flow_ended": track(who, source, *kind)}),
    }
}

const TICK_MS: u64 = 20;
