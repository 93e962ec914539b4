//! What recordings cost: from packets to a file, memory over a day, repair, close, start. Files are made in a temporary folder
//! that goes with the bench; a day passes in virtual time.

mod camera;
mod start;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use reelay_signaling::Kind;
use serde::Serialize;

use super::numbers::{Values, us_per};
use super::process::{Scratch, resident_bytes, thread_cpu};
use super::source::FRAMES_PER_SECOND;
use crate::recording::file::{Block, SegmentFile};
use crate::recording::repair::repair;
use crate::recording::storage::{Disk, Storage};
use crate::recording::trial::{Nowhere, Trial};
use crate::webm::{self, AudioTrack, Header, VideoCodec, VideoTrack};
use camera::{Camera, Shot};

/// How large the files are and how long the days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As the report says.
    Full,
    /// A hundredth: shows that it works, and nothing about speed.
    Tiny,
}

/// What came out. Each has a bar; [`FilesReport::missed`] names those that were not reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FilesReport {
    /// CPU per frame (or packet of sound): order, timeline, mux, write.
    pub us_per_frame: f64,
    /// The same with an `fdatasync` each second.
    pub synced_us_per_frame: f64,
    /// How long one `fdatasync` of a second took, in milliseconds.
    pub sync_p50_ms: f64,
    /// The same, 99 of 100.
    pub sync_p99_ms: f64,
    /// Memory of a recording after a minute.
    pub bytes_per_recording: u64,
    /// How much more it is at the end than after an hour.
    pub growth_bytes: u64,
    /// Length of that recording.
    pub growth_hours: u64,
    /// Size of the file that was repaired.
    pub repaired_bytes: u64,
    /// How long that took, with the file in the cache as after a crash of the server.
    pub repair_ms: u64,
    /// How long another look took with nothing in the cache, as after a power cut.
    pub cold_repair_ms: u64,
    /// Length of the recording that was closed.
    pub closed_hours: u64,
    /// How long that took.
    pub close_ms: u64,
    /// Finished recordings in the folder of a server that starts.
    pub recordings: u64,
    /// Until it answers, the first time, without a catalogue.
    pub first_start_ms: u64,
    /// Until the catalogue then has all of them.
    pub listed_ms: u64,
    /// Until it answers, every other time.
    pub start_ms: u64,
    /// Memory of a server a few seconds after its start, with nothing to do.
    pub idle_bytes: u64,
}

/// Measures all of it. Progress goes to stderr.
///
/// # Errors
/// When there is not enough room for the files, or the disk or the server fails.
pub fn files(size: Size) -> anyhow::Result<FilesReport> {
    let scratch = Arc::new(Scratch::new()?);
    let part = if size == Size::Full { 1 } else { 100 };
    let needed = 3_000_000_000 / part;
    let free = crate::recording::free_bytes(scratch.path())?;
    anyhow::ensure!(free > needed, "{} needs {} MB of free space", scratch.path().display(), needed / 1_000_000);
    let mut report = FilesReport::default();
    say("order, timeline, mux and write");
    measure_chain(&mut report, scratch.path(), Duration::from_secs(600 / part))?;
    say("memory over a day");
    measure_memory(&mut report, 24, 3600 / part, CROWD / part as usize)?;
    say("repair");
    measure_repair(&mut report, scratch.path(), 1_000_000_000 / part)?;
    say("close of a long recording");
    measure_close(&mut report, scratch.path(), 10, 3600 / part)?;
    say("start with many recordings");
    start::measure(&mut report, &scratch, 10_000 / part, if size == Size::Full { SETTLE } else { Duration::ZERO })?;
    Ok(report)
}

fn measure_chain(report: &mut FilesReport, dir: &Path, length: Duration) -> anyhow::Result<()> {
    let mut syncs = Values::default();
    for is_synced in [false, true] {
        let folder = dir.join(if is_synced { "synced" } else { "plain" });
        std::fs::create_dir(&folder)?;
        let zero = Instant::now();
        let mut trial = Trial::new(Arc::new(Disk), &folder, zero);
        let mut camera = Camera::new(Shot::USUAL, zero);
        let before = thread_cpu();
        camera.play(&mut trial, Duration::ZERO, length, |trial| {
            let began = Instant::now();
            if is_synced {
                trial.sync()?;
                syncs.push(began.elapsed());
            }
            Ok(())
        })?;
        let us = us_per(thread_cpu().saturating_sub(before), camera.frames);
        let entry = trial.close(zero + length);
        let missing =
            camera.frames.saturating_sub(entry.counters.iter().map(|(name, count)| written(name, *count)).sum());
        anyhow::ensure!(missing == 0, "{missing} of {} frames are not in the file", camera.frames);
        *(if is_synced { &mut report.synced_us_per_frame } else { &mut report.us_per_frame }) = us;
        std::fs::remove_dir_all(&folder)?;
    }
    report.sync_p50_ms = syncs.percentile_ms(0.5);
    report.sync_p99_ms = syncs.percentile_ms(0.99);
    Ok(())
}

fn written(counter: &str, count: u64) -> u64 {
    if matches!(counter, "video_frames" | "audio_packets") { count } else { 0 }
}

fn measure_memory(report: &mut FilesReport, hours: u64, hour_s: u64, crowd: usize) -> anyhow::Result<()> {
    // With losses, and measured while one is waited for: that is when the most is held.
    let shot = Shot { lost_every: Some(LOST_EVERY), ..Shot::USUAL };
    let zero = Instant::now();
    let new = || (Trial::new(Arc::new(Nowhere), Path::new("/nowhere"), zero), Camera::new(shot, zero));
    let (minute, hour) = (Duration::from_millis(LOST_AT_MS * 6.min(hour_s / 11) + 1_900), Duration::from_secs(hour_s));
    let refreshed = |trial: &mut Trial| {
        trial.refresh();
        Ok(())
    };
    let (mut one, mut camera) = new();
    camera.play(&mut one, Duration::ZERO, minute, refreshed)?;
    let before = resident_bytes()?;
    let mut others: Vec<_> = (0..crowd).map(|_| new()).collect();
    for (trial, camera) in &mut others {
        camera.play(trial, Duration::ZERO, minute, refreshed)?;
    }
    report.bytes_per_recording = resident_bytes()?.saturating_sub(before) / crowd as u64;
    drop(others);
    camera.play(&mut one, minute, hour, refreshed)?;
    let after_an_hour = resident_bytes()?;
    camera.play(&mut one, hour, hour * hours as u32, refreshed)?;
    report.growth_bytes = resident_bytes()?.saturating_sub(after_an_hour);
    report.growth_hours = hours;
    Ok(())
}

fn measure_repair(report: &mut FilesReport, dir: &Path, bytes: u64) -> anyhow::Result<()> {
    let path = dir.join("long.webm");
    let header = Header {
        video: Some(VideoTrack { codec: VideoCodec::Vp8, size: None }),
        audio: Some(AudioTrack { channels: 2 }),
        date_ms: 0,
        name: "camera".into(),
    };
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    let mut file = SegmentFile::create(storage.clone(), &path, &header)?;
    let video = [&[0x10, 0, 0, 0x9D, 1, 0x2A, 0x00, 0x05, 0xD0, 0x02], &[7; 4_150][..]].concat();
    let (mut time_ms, mut n) = (0, 0_u64);
    while file.stats().bytes < bytes {
        // Two frames and three packets of sound in each 60 ms or so.
        let (kind, data) = if n % 5 < 2 { (Kind::Video, &video[..]) } else { (Kind::Audio, &[0xF8; 80][..]) };
        time_ms += 13;
        let keyframe = n.is_multiple_of(300);
        file.write(Block { kind, time_ms, keyframe, fill: false, data, size: None })?;
        n += 1;
    }
    // What was recorded long before a crash is on the disk.
    file.sync()?;
    drop(file);
    let began = Instant::now();
    let repaired = repair(&storage, &webm::part_path(&path)).context("the repair")?;
    report.repair_ms = began.elapsed().as_millis() as u64;
    report.repaired_bytes = repaired.bytes;
    let found = repaired.tally.blocks();
    anyhow::ensure!(found == n, "{found} of {n} blocks were found");
    let whole = std::fs::File::open(&path)?;
    whole.sync_data()?;
    // A hint: where it is not taken the second look is as quick as the first.
    let _ = rustix::fs::fadvise(&whole, 0, None, rustix::fs::Advice::DontNeed);
    let began = Instant::now();
    repair(&storage, &path).context("the second look")?;
    report.cold_repair_ms = began.elapsed().as_millis() as u64;
    std::fs::remove_file(&path)?;
    Ok(())
}

fn measure_close(report: &mut FilesReport, dir: &Path, hours: u64, hour_s: u64) -> anyhow::Result<()> {
    // The close knows clusters, not bytes: small frames make it a small file.
    let shot = Shot { packet_bytes: 25, sound_bytes: 20, lost_every: None };
    let folder = dir.join("close");
    std::fs::create_dir(&folder)?;
    let (zero, length) = (Instant::now(), Duration::from_secs(hours * hour_s));
    let mut trial = Trial::new(Arc::new(Disk), &folder, zero);
    let mut camera = Camera::new(shot, zero);
    let mut seconds = 0_u64;
    camera.play(&mut trial, Duration::ZERO, length, |trial| {
        seconds += 1;
        // Each second in the server; here often enough that no more than usual is left for the close.
        if seconds.is_multiple_of(600) || seconds + 1 == length.as_secs() {
            trial.sync()?;
        }
        trial.refresh();
        Ok(())
    })?;
    let began = Instant::now();
    let entry = trial.close(zero + length);
    report.close_ms = began.elapsed().as_millis() as u64;
    report.closed_hours = hours;
    anyhow::ensure!(!entry.open && entry.duration_ms + 1000 > hours * hour_s * 1000, "it was not closed in order");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn say(what: &str) {
    eprintln!("measuring: {what}");
}

impl FilesReport {
    /// What is over its bar.
    pub fn missed(&self) -> Vec<&'static str> {
        let bars = [
            ("CPU per frame", self.us_per_frame <= 5.0),
            ("memory", self.bytes_per_recording < 2_000_000 && self.growth_bytes < 2_000_000),
            ("repair", self.repair_ms < 3_000),
            ("close", self.close_ms < 1_000),
            ("start", self.start_ms < 1_000 && self.first_start_ms < 1_000),
            ("idle memory", self.idle_bytes < 30_000_000),
        ];
        bars.into_iter().filter(|(_, is_met)| !is_met).map(|(name, _)| name).collect()
    }
}

impl std::fmt::Display for FilesReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            f,
            "CPU per frame       {:.2} µs for order, timeline, mux and write (wanted: at most 5); {:.2} µs with fdatasync \
             each second, which takes {:.1} ms (p99 {:.1} ms)",
            self.us_per_frame, self.synced_us_per_frame, self.sync_p50_ms, self.sync_p99_ms
        )?;
        writeln!(
            f,
            "memory              {:.2} MB per recording (wanted: under 2); {:.2} MB more after {} h than after one",
            mb(self.bytes_per_recording),
            mb(self.growth_bytes),
            self.growth_hours
        )?;
        writeln!(
            f,
            "repair              {:.0} MB in {} ms (wanted: 1 GB under 3000); {} ms with nothing in the cache",
            mb(self.repaired_bytes),
            self.repair_ms,
            self.cold_repair_ms
        )?;
        writeln!(f, "close               {} h in {} ms (wanted: under 1000)", self.closed_hours, self.close_ms)?;
        writeln!(
            f,
            "start               {} recordings: {} ms (wanted: under 1000); {} ms without a catalogue, complete after {} ms",
            self.recordings, self.start_ms, self.first_start_ms, self.listed_ms
        )?;
        write!(f, "idle                {:.1} MB (wanted: under 30)", mb(self.idle_bytes))?;
        let missed = self.missed();
        if missed.is_empty() { Ok(()) } else { write!(f, "\nnot reached: {}", missed.join(", ")) }
    }
}

/// Recordings at once whose memory is measured.
const CROWD: usize = 200;
/// Frames from one loss to the next.
const LOST_EVERY: u64 = 300;
/// The same in time.
const LOST_AT_MS: u64 = LOST_EVERY * 1_000 / FRAMES_PER_SECOND;
const SETTLE: Duration = Duration::from_secs(3);
