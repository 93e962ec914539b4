//! One publisher, many viewers: what a forwarded packet costs.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::crowd::{Crowd, Window};
use super::floor::floor;
use super::numbers::us_per;
use super::process::Process;
use super::seat::Shared;
use super::source::Sources;

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FanoutReport {
    /// Viewers.
    pub viewers: usize,
    /// Length of the window.
    pub seconds: f64,
    /// Packets that reached viewers in the window.
    pub packets: u64,
    /// Packets that did not.
    pub missing: u64,
    /// CPU of the server per packet that reached a viewer.
    pub us_per_packet: f64,
    /// CPU of sealing and sending alone, per packet.
    pub floor_us_per_packet: f64,
    /// One by the other.
    pub times_floor: f64,
    /// Memory that the viewers added to the server, each.
    pub bytes_per_viewer: u64,
    /// Memory of the server with all viewers.
    pub resident_bytes: u64,
    /// From the offer to SRTP keys, in milliseconds.
    pub join_p50_ms: f64,
    /// The same, 95 of 100.
    pub join_p95_ms: f64,
    /// From the offer to the first frame.
    pub first_frame_p50_ms: f64,
    /// From the sending of a frame to the arrival of its last packet.
    pub latency_p50_ms: f64,
    /// The same, 99 of 100.
    pub latency_p99_ms: f64,
    /// CPU of all viewers together per packet: what this load itself costs.
    pub load_us_per_packet: f64,
}

/// Measures `viewers` viewers of one publisher for `duration`.
///
/// # Errors
/// When the server does not start, or somebody cannot join.
pub fn fanout(viewers: usize, duration: Duration) -> anyhow::Result<FanoutReport> {
    let process = Process::start(&[
        ("recording.start", "off".into()),
        ("limits.watchers_per_room", (viewers + 1).to_string()),
        ("limits.sockets", (viewers + 16).to_string()),
    ])?;
    let shared = Shared::new(process.media)?;
    let epoch = Instant::now();
    let mut sources = Sources::join(shared.clone(), vec![process.url("/whip/bench/camera")?], epoch)?;
    // The server knows a publisher from the first packet on.
    let deadline = Instant::now() + Duration::from_secs(5);
    while sources.sent.load(Ordering::Relaxed) < 50 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(SETTLE);
    let alone = process.usage()?;
    let crowd = Crowd::join(shared, process.url("/whep/bench")?, viewers, epoch)?;
    std::thread::sleep(SETTLE);
    let from = Instant::now();
    let to = from + duration;
    crowd.count(Window { from, to, end: to + Duration::from_millis(50) });
    let before = process.usage()?;
    std::thread::sleep(to.saturating_duration_since(Instant::now()));
    let after = process.usage()?;
    let mut seen = crowd.finish()?;
    sources.stop()?;
    drop(process);
    let (floor_cpu, floor_packets) = floor(viewers, duration.min(FLOOR))?;
    let us_per_packet = us_per(after.cpu.saturating_sub(before.cpu), seen.packets);
    let floor_us_per_packet = us_per(floor_cpu, floor_packets);
    Ok(FanoutReport {
        viewers,
        seconds: duration.as_secs_f64(),
        packets: seen.packets,
        missing: seen.missing,
        us_per_packet,
        floor_us_per_packet,
        times_floor: if floor_us_per_packet > 0.0 { us_per_packet / floor_us_per_packet } else { 0.0 },
        bytes_per_viewer: after.resident_bytes.saturating_sub(alone.resident_bytes) / viewers.max(1) as u64,
        resident_bytes: after.resident_bytes,
        join_p50_ms: seen.joined.percentile_ms(0.5),
        join_p95_ms: seen.joined.percentile_ms(0.95),
        first_frame_p50_ms: seen.first_frame.percentile_ms(0.5),
        latency_p50_ms: seen.latency.percentile_ms(0.5),
        latency_p99_ms: seen.latency.percentile_ms(0.99),
        load_us_per_packet: us_per(seen.cpu, seen.packets),
    })
}

impl std::fmt::Display for FanoutReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_second = self.packets as f64 / self.seconds;
        writeln!(f, "{} viewers, {:.0} packets a second, {} missing", self.viewers, per_second, self.missing)?;
        writeln!(
            f,
            "  CPU per packet    {:.2} µs; sealing and sending alone {:.2} µs (× {:.2}, wanted: at most 1.5)",
            self.us_per_packet, self.floor_us_per_packet, self.times_floor
        )?;
        writeln!(
            f,
            "  memory            {:.1} kB per viewer (wanted: at most 40), {:.1} MB in all",
            self.bytes_per_viewer as f64 / 1e3,
            self.resident_bytes as f64 / 1e6
        )?;
        writeln!(
            f,
            "  join              {:.1} ms (p95 {:.1} ms), first frame after {:.0} ms",
            self.join_p50_ms, self.join_p95_ms, self.first_frame_p50_ms
        )?;
        writeln!(f, "  latency           {:.2} ms (p99 {:.2} ms)", self.latency_p50_ms, self.latency_p99_ms)?;
        write!(f, "  this load itself  {:.2} µs per packet", self.load_us_per_packet)
    }
}

const SETTLE: Duration = Duration::from_millis(1500);
const FLOOR: Duration = Duration::from_secs(5);
