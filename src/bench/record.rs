//! Many publishers, recorded: what a recorded packet costs, beside the same packets that are only received. Both servers run
//! at the same time: a thread that has a machine to itself needs less time for the same work than one among others.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::numbers::us_per;
use super::process::{Process, Usage};
use super::seat::Shared;
use super::source::Sources;

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordReport {
    /// Publishers of 1 Mbit/s.
    pub publishers: usize,
    /// Length of the window.
    pub seconds: f64,
    /// Packets that were sent in the window.
    pub packets: u64,
    /// CPU of the server per packet in, with recording.
    pub us_per_packet: f64,
    /// The same at the same time on a server that does not record: receiving alone.
    pub receiving_us_per_packet: f64,
    /// One by the other.
    pub times_receiving: f64,
    /// Memory of the server while it records.
    pub resident_bytes: u64,
    /// Files that were closed in order.
    pub files: usize,
    /// Their bytes.
    pub file_bytes: u64,
    /// Files that were left open.
    pub open_files: usize,
    /// How long stopping and closing took.
    pub close_ms: u64,
}

/// A server and those who publish to it.
struct Side {
    process: Process,
    sources: Sources,
}

/// What a server used so far, and for how many packets.
struct Reading {
    usage: Usage,
    packets: u64,
}

#[derive(Default)]
struct Files {
    closed: usize,
    bytes: u64,
    open: usize,
}

/// Measures `publishers` publishers that are recorded for `duration`, beside as many that are not.
///
/// # Errors
/// When a server does not start, or somebody cannot join.
pub fn record(publishers: usize, duration: Duration) -> anyhow::Result<RecordReport> {
    let plain = Side::start(publishers, "off")?;
    let recorded = Side::start(publishers, "auto")?;
    std::thread::sleep(SETTLE);
    let before = (plain.read()?, recorded.read()?);
    std::thread::sleep(duration);
    let after = (plain.read()?, recorded.read()?);
    plain.stop()?;
    let (files, close) = recorded.stop()?;
    let receiving_us_per_packet = after.0.us_per_packet_since(&before.0);
    let us_per_packet = after.1.us_per_packet_since(&before.1);
    Ok(RecordReport {
        publishers,
        seconds: duration.as_secs_f64(),
        packets: after.1.packets - before.1.packets,
        us_per_packet,
        receiving_us_per_packet,
        times_receiving: if receiving_us_per_packet > 0.0 { us_per_packet / receiving_us_per_packet } else { 0.0 },
        resident_bytes: after.1.usage.resident_bytes,
        files: files.closed,
        file_bytes: files.bytes,
        open_files: files.open,
        close_ms: close.as_millis() as u64,
    })
}

impl Side {
    /// `recording` is how recordings start there.
    fn start(publishers: usize, recording: &str) -> anyhow::Result<Self> {
        let process = Process::start(&[
            ("recording.start", recording.into()),
            ("recording.consent", "notice".into()),
            ("limits.rooms", (publishers + 1).to_string()),
        ])?;
        let shared = Shared::new(process.media)?;
        let url = |n: usize| process.url(&format!("/whip/bench-{}/camera-{n}", n / PER_ROOM));
        let urls = (0..publishers).map(url).collect::<anyhow::Result<Vec<_>>>()?;
        let sources = Sources::join(shared, urls, Instant::now())?;
        Ok(Self { process, sources })
    }

    fn read(&self) -> anyhow::Result<Reading> {
        Ok(Reading { usage: self.process.usage()?, packets: self.sources.sent.load(Ordering::Relaxed) })
    }

    /// Gives the files, and how long closing them took.
    fn stop(mut self) -> anyhow::Result<(Files, Duration)> {
        let stopping = Instant::now();
        self.process.stop()?;
        let close = stopping.elapsed();
        // The server is gone before its publishers: what they say about that is no news.
        let _ = self.sources.stop();
        Ok((files_in(&self.process.recordings()), close))
    }
}

impl Reading {
    fn us_per_packet_since(&self, before: &Self) -> f64 {
        us_per(self.usage.cpu.saturating_sub(before.usage.cpu), self.packets - before.packets)
    }
}

fn files_in(folder: &Path) -> Files {
    let mut files = Files::default();
    let Ok(recordings) = std::fs::read_dir(folder) else { return files };
    for file in recordings.flatten().filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().flatten() {
        match file.path().extension().and_then(|extension| extension.to_str()) {
            Some("webm") => {
                files.closed += 1;
                files.bytes += file.metadata().map_or(0, |metadata| metadata.len());
            }
            Some("part") => files.open += 1,
            _ => {}
        }
    }
    files
}

impl std::fmt::Display for RecordReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_second = self.packets as f64 / self.seconds;
        writeln!(f, "{} publishers, {:.0} packets a second", self.publishers, per_second)?;
        writeln!(
            f,
            "  CPU per packet    {:.1} µs recorded (wanted: at most 22); {:.1} µs only received (× {:.2}, wanted: 1.3)",
            self.us_per_packet, self.receiving_us_per_packet, self.times_receiving
        )?;
        writeln!(f, "  memory            {:.1} MB in all", self.resident_bytes as f64 / 1e6)?;
        write!(
            f,
            "  files             {} closed ({:.1} MB) in {} ms, {} left open",
            self.files,
            self.file_bytes as f64 / 1e6,
            self.close_ms,
            self.open_files
        )
    }
}

const PER_ROOM: usize = 10;
const SETTLE: Duration = Duration::from_secs(3);
