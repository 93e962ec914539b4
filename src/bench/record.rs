//! Many publishers, recorded: what a recorded packet costs, beside the same packets that are only received.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::numbers::us_per;
use super::process::Process;
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
    /// The same without recording: receiving alone.
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

struct Run {
    cpu: Duration,
    packets: u64,
    resident_bytes: u64,
    files: Files,
    close: Duration,
}

#[derive(Default)]
struct Files {
    closed: usize,
    bytes: u64,
    open: usize,
}

/// Measures `publishers` publishers for `duration`, first without and then with recording.
///
/// # Errors
/// When a server does not start, or somebody cannot join.
pub fn record(publishers: usize, duration: Duration) -> anyhow::Result<RecordReport> {
    let without = run(publishers, duration, "off")?;
    let with = run(publishers, duration, "auto")?;
    let us_per_packet = us_per(with.cpu, with.packets);
    let receiving_us_per_packet = us_per(without.cpu, without.packets);
    Ok(RecordReport {
        publishers,
        seconds: duration.as_secs_f64(),
        packets: with.packets,
        us_per_packet,
        receiving_us_per_packet,
        times_receiving: if receiving_us_per_packet > 0.0 { us_per_packet / receiving_us_per_packet } else { 0.0 },
        resident_bytes: with.resident_bytes,
        files: with.files.closed,
        file_bytes: with.files.bytes,
        open_files: with.files.open,
        close_ms: with.close.as_millis() as u64,
    })
}

fn run(publishers: usize, duration: Duration, recording: &str) -> anyhow::Result<Run> {
    let mut process = Process::start(&[
        ("recording.start", recording.into()),
        ("recording.consent", "notice".into()),
        ("limits.rooms", (publishers + 1).to_string()),
    ])?;
    let shared = Shared::new(process.media)?;
    let url = |n: usize| process.url(&format!("/whip/bench-{}/camera-{n}", n / PER_ROOM));
    let urls = (0..publishers).map(url).collect::<anyhow::Result<Vec<_>>>()?;
    let mut sources = Sources::join(shared, urls, Instant::now())?;
    std::thread::sleep(SETTLE);
    let (before, sent_before) = (process.usage()?, sources.sent.load(Ordering::Relaxed));
    std::thread::sleep(duration);
    let (after, sent_after) = (process.usage()?, sources.sent.load(Ordering::Relaxed));
    let stopping = Instant::now();
    process.stop()?;
    let close = stopping.elapsed();
    // The server is gone before its publishers: what they say about that is no news.
    let _ = sources.stop();
    Ok(Run {
        cpu: after.cpu.saturating_sub(before.cpu),
        packets: sent_after - sent_before,
        resident_bytes: after.resident_bytes,
        files: files_in(&process.recordings()),
        close,
    })
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
