//! The start of a server whose folder is full of finished recordings, and one with nothing to do.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use reelay_signaling::{ParticipantId, Source};
use uuid::Uuid;

use super::FilesReport;
use crate::bench::process::{Process, Scratch};
use crate::cli::client::http::Http;
use crate::recording::{SegmentEntry, file_name, parse_manifest};

/// Starts servers in a folder with this many recordings; the last one gets `settle` to come to rest.
pub(super) fn measure(
    report: &mut FilesReport,
    scratch: &Arc<Scratch>,
    recordings: u64,
    settle: Duration,
) -> anyhow::Result<()> {
    let folder = scratch.path().join("recordings");
    for n in 0..recordings {
        make_recording(&folder, n)?;
    }
    report.recordings = recordings;
    let began = Instant::now();
    let mut first = Process::start_in(scratch.clone(), &[])?;
    report.first_start_ms = first.started_in.as_millis() as u64;
    wait_until_listed(&first, recordings)?;
    report.listed_ms = began.elapsed().as_millis() as u64;
    first.stop()?;
    let mut second = Process::start_in(scratch.clone(), &[])?;
    report.start_ms = second.started_in.as_millis() as u64;
    wait_until_listed(&second, recordings)?;
    second.stop()?;
    let idle = Process::start(&[])?;
    std::thread::sleep(settle);
    report.idle_bytes = idle.usage()?.resident_bytes;
    Ok(())
}

/// A recording of two people as it is on disk when it is over. Its media are not there: a start does not look at them.
fn make_recording(folder: &Path, n: u64) -> anyhow::Result<()> {
    let id = Uuid::now_v7().to_string();
    let started_at = format!("2026-01-{:02}T{:02}:{:02}:00Z", n / 1440 % 28 + 1, n / 60 % 24, n % 60);
    let text = serde_json::json!({
        "version": 1, "id": id, "room": format!("team-{}", n % 100), "state": "complete", "duration_ms": 1_800_000,
        "started_at": started_at, "ended_at": started_at,
    });
    let mut manifest = parse_manifest(text.to_string().as_bytes())?;
    for person in 0..2_u64 {
        let participant = ParticipantId::from_random(person + 1);
        let name = file_name(&participant, Source::Camera, 1);
        let mut entry = SegmentEntry::open(name, participant, Source::Camera, format!("person{person}"), "Name".into());
        entry.open = false;
        (entry.duration_ms, entry.bytes) = (1_800_000, 236_000_000);
        entry.sha256 = Some("0".repeat(64));
        entry.hashed_at = Some(started_at.clone());
        manifest.files.push(entry);
    }
    let folder = folder.join(&id);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("manifest.json"), serde_json::to_vec(&manifest)?)?;
    std::fs::write(folder.join("events.jsonl"), "{\"t_ms\":1,\"type\":\"chat\",\"text\":\"hello\"}\n")?;
    Ok(())
}

fn wait_until_listed(process: &Process, recordings: u64) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (http, url) = (Http::new(None, None)?, process.url("/metrics")?);
    let deadline = Instant::now() + PATIENCE;
    runtime.block_on(async {
        loop {
            let answer = http.get(&url).await?;
            let listed =
                answer.body.lines().find_map(|line| line.strip_prefix("recordings ")?.trim().parse::<f64>().ok());
            let listed = listed.context("the server does not say how many recordings it lists")?;
            if listed >= recordings as f64 {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "the catalogue has {listed} of {recordings} recordings");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

const PATIENCE: Duration = Duration::from_secs(120);
