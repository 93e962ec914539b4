//! After a crash: finishes what was left open, oldest first, while the server runs already. Then hashes what is finished.
//! The only other user of these folders is the recorder, and it never goes back to a recording of an earlier start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Instant;

use reelay_signaling::{RecordingId, RecordingStatus};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use super::api::Update;
use super::events::{self, MachineClock, WallClock};
use super::hash;
use super::manifest::{AudioInfo, Manifest, SegmentEntry, VideoInfo, parse_file_name};
use super::repair::{self, Outcome, RepairError, RepairReport};
use super::segment;
use super::storage::{Storage, StorageError};
use super::store;
use crate::webm;
use crate::webm::layout::FIRST_CLUSTER_AT;

mod later;
mod lost;

pub use later::{Away, Back, Later, put};

/// What was there when the server started.
pub struct Work {
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// The recordings folder.
    pub dir: PathBuf,
    /// The recordings in it, oldest first.
    pub found: Vec<RecordingId>,
    /// For the times in manifests.
    pub clock: MachineClock,
}

/// Starts the thread; `later` brings what is to be done since, and `back` hears of files that were away.
///
/// # Errors
/// When no thread can be made.
pub fn start(
    work: Work,
    updates: UnboundedSender<Update>,
    later: Receiver<Later>,
    back: Back,
    stop: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("reelay-repair".into()).spawn(move || {
        let mut unhashed = Vec::new();
        for id in &work.found {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let folder = work.dir.join(id.as_str());
            match work.look(&folder, id, &updates) {
                Ok(Found::Whole) => {}
                Ok(Found::Unhashed) => unhashed.push(folder),
                Err(error) => warn!(recording = %id, %error, "cannot repair a recording"),
            }
        }
        for folder in unhashed {
            work.hash(&folder, &updates, &stop);
        }
        later::run(&work, &later, &updates, &back, &stop);
    })
}

enum Found {
    Whole,
    Unhashed,
}

impl Work {
    fn look(&self, folder: &Path, id: &RecordingId, updates: &UnboundedSender<Update>) -> io::Result<Found> {
        self.take_drafts(folder)?;
        let files = ours(folder)?;
        let parts;
        let manifest = match store::read_manifest(folder) {
            Ok(manifest) => {
                // Given up before.
                let is_given_up = |part: &PathBuf| {
                    let name = webm::final_path(part);
                    let entry = name.file_name().and_then(|name| manifest.file(name.to_str()?));
                    entry.is_some_and(is_unusable)
                };
                // One that is whole got its name and then the server ended.
                let is_listed = |path: &Path| manifest.file(path.file_name()?.to_str()?);
                let is_left = |path: &PathBuf| match webm::is_part(path) {
                    true => !is_given_up(path),
                    false => is_listed(path).is_none(),
                };
                parts = files.into_iter().filter(is_left).collect::<Vec<_>>();
                if parts.is_empty() && !is_unfinished(&manifest) {
                    let is_hashed = manifest.files.iter().all(|entry| entry.sha256.is_some() || is_unusable(entry));
                    return Ok(if is_hashed { Found::Whole } else { Found::Unhashed });
                }
                manifest
            }
            Err(error) if !error.is_lost() => {
                warn!(recording = %id, %error, "a recording is left as it is");
                return Ok(Found::Whole);
            }
            Err(error) => {
                parts = files;
                // A folder without a file of ours is none of ours.
                let Some(manifest) = lost::manifest_of(id, folder).filter(|_| !parts.is_empty()) else {
                    return Ok(Found::Whole);
                };
                warn!(recording = %id, %error, "a manifest is lost and made anew");
                manifest
            }
        };
        self.repair(folder, manifest, &parts, updates)?;
        Ok(Found::Unhashed)
    }

    /// A draft becomes the file that had not begun; where that had, it is of no more use.
    fn take_drafts(&self, folder: &Path) -> io::Result<()> {
        for draft in fs::read_dir(folder)?.flatten().map(|item| item.path()) {
            let whole = webm::final_path(&draft);
            let file = whole.with_extension("webm");
            let is_ours = |name: &str| parse_file_name(name).is_some();
            if whole.extension().is_none_or(|name| name != segment::DRAFT)
                || !file.file_name().and_then(|name| name.to_str()).is_some_and(is_ours)
            {
                continue;
            }
            let part = webm::part_path(&file);
            let has_media = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > FIRST_CLUSTER_AT);
            if webm::is_part(&draft) || has_media(&file) || has_media(&part) {
                self.storage.remove(&draft)?;
            } else {
                self.storage.rename(&draft, &part)?;
            }
        }
        Ok(())
    }

    fn repair(
        &self,
        folder: &Path,
        mut manifest: Manifest,
        parts: &[PathBuf],
        updates: &UnboundedSender<Update>,
    ) -> io::Result<()> {
        manifest.state = RecordingStatus::Repairing;
        let _ = updates.send(Update::Manifest(manifest.clone()));
        let began = Instant::now();
        let mut dates = Vec::new();
        let mut refused = None;
        for part in parts {
            let Some(name) = webm::final_path(part).file_name().and_then(|name| name.to_str()).map(str::to_owned)
            else {
                continue;
            };
            match repair::repair(&self.storage, part) {
                Ok(report) if report.outcome == Outcome::Removed => manifest.files.retain(|entry| entry.file != name),
                Ok(report) => {
                    if list(&mut manifest, &name) {
                        dates.push((name.clone(), report.date_ms));
                    }
                    self.note(&mut manifest, &name, &report, folder);
                }
                // The next start tries again.
                Err(RepairError::Storage(error)) => {
                    warn!(recording = %manifest.id, %error, "a file cannot be repaired now");
                    list(&mut manifest, &name);
                    refused = Some(error.reason());
                }
                Err(RepairError::Exists(_)) => warn!(recording = %manifest.id, name, "a file is there twice"),
                Err(error) => {
                    warn!(recording = %manifest.id, %error, "a file cannot be repaired");
                    list(&mut manifest, &name);
                    give_up(&mut manifest, &name);
                }
            }
        }
        place(&mut manifest, &dates);
        // Closed, renamed, and the manifest did not hear of it any more.
        let open: Vec<String> = manifest.files.iter().filter(|f| f.open).map(|f| f.file.clone()).collect();
        for name in open {
            match repair::repair(&self.storage, &folder.join(&name)) {
                Ok(report) => self.note(&mut manifest, &name, &report, folder),
                Err(RepairError::Storage(StorageError::Failed(_) | StorageError::Full(_) | StorageError::Busy)) => {}
                Err(_) if !self.storage.exists(&folder.join(&name)) => {
                    manifest.files.retain(|entry| entry.file != name);
                }
                Err(error) => {
                    warn!(recording = %manifest.id, %error, "a file cannot be repaired");
                    give_up(&mut manifest, &name);
                }
            }
        }
        manifest.files.sort_by_key(|entry| entry.offset_ms);
        manifest.duration_ms = manifest.length_ms();
        (manifest.state, manifest.reason) = match refused {
            Some(reason) => (RecordingStatus::Interrupted, Some(reason.to_owned())),
            None if manifest.files.iter().all(is_unusable) => {
                (RecordingStatus::Failed, Some("nothing-usable".to_owned()))
            }
            None => (RecordingStatus::Recovered, None),
        };
        if manifest.ended_at.is_none() {
            manifest.ended_at = Some(ended_at(folder, &manifest));
        }
        store::update_manifest(&*self.storage, folder, &manifest)?;
        let at = self.now();
        let event = serde_json::json!({"type": "repaired", "files": manifest.files.len(), "state": manifest.state});
        let line = events::line(event, manifest.duration_ms, &at);
        store::append(&*self.storage, &folder.join(store::EVENTS), format!("{line}\n").as_bytes())?;
        let took_ms = began.elapsed().as_millis() as u64;
        info!(recording = %manifest.id, files = manifest.files.len(), took_ms, "recording repaired");
        // A name that no room can have is one of others.
        if let Ok(room) = manifest.room.parse() {
            let _ = updates.send(Update::Event { recording: manifest.id.clone(), room, line });
        }
        let _ = updates.send(Update::Manifest(manifest));
        Ok(())
    }

    /// Brings the entry of a repaired file up to date.
    fn note(&self, manifest: &mut Manifest, name: &str, report: &RepairReport, folder: &Path) {
        if let Some(entry) = manifest.files.iter_mut().find(|entry| entry.file == name) {
            self.note_in(entry, report, folder);
        }
    }

    fn note_in(&self, entry: &mut SegmentEntry, report: &RepairReport, folder: &Path) {
        entry.open = false;
        entry.duration_ms = report.duration_ms;
        entry.bytes = report.bytes;
        entry.close_reason = Some("repaired".into());
        entry.closed_at = Some(modified(&folder.join(&entry.file)).unwrap_or_else(|| self.now()));
        (entry.sha256, entry.hashed_at) = (None, None);
        let tally = &report.tally;
        let has_video = tally.video.blocks > tally.video.fills;
        entry.video = report.video.filter(|_| has_video).map(|codec| {
            let (width, height) = tally.size.unwrap_or_default();
            let codec = match codec {
                webm::VideoCodec::Vp8 => "vp8",
                webm::VideoCodec::Vp9 => "vp9",
                webm::VideoCodec::Av1 => "av1",
            };
            VideoInfo { codec: codec.into(), width: width.into(), height: height.into() }
        });
        // The others are as of the last seconds before the crash.
        let real = [("video_frames", &tally.video), ("audio_packets", &tally.audio)];
        for (name, track) in real.into_iter().filter(|(_, track)| track.blocks > track.fills) {
            entry.counters.insert(name.to_owned(), track.blocks - track.fills);
        }
        let had = entry.audio.take();
        let has_audio = tally.audio.blocks > tally.audio.fills;
        entry.audio = has_audio.then(|| had.unwrap_or(AudioInfo { codec: "opus".into(), channels: 2 }));
    }

    fn hash(&self, folder: &Path, updates: &UnboundedSender<Update>, stop: &AtomicBool) {
        match hash::hash_recording(&*self.storage, folder, &|| self.now(), stop) {
            Ok(Some(manifest)) => {
                let _ = updates.send(Update::Manifest(manifest));
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "cannot hash a recording"),
        }
    }

    fn now(&self) -> String {
        WallClock::new((self.clock)()).text(0)
    }
}

fn is_unfinished(manifest: &Manifest) -> bool {
    manifest.is_running()
        || manifest.state == RecordingStatus::Repairing
        || manifest.files.iter().any(|entry| entry.open)
}

fn is_unusable(entry: &SegmentEntry) -> bool {
    entry.close_reason.as_deref() == Some(UNUSABLE)
}

fn give_up(manifest: &mut Manifest, name: &str) {
    for entry in manifest.files.iter_mut().filter(|entry| entry.file == name) {
        entry.open = false;
        entry.close_reason = Some(UNUSABLE.into());
    }
}

/// Makes an entry of a file's name. True when there was none.
fn list(manifest: &mut Manifest, name: &str) -> bool {
    let Some((participant, source, _)) = parse_file_name(name).filter(|_| manifest.file(name).is_none()) else {
        return false;
    };
    let known = manifest.participants.iter().find(|person| person.id == participant);
    let (person, shown) = known.map(|p| (p.person.clone(), p.name.clone())).unwrap_or_default();
    manifest.files.push(SegmentEntry::open(name.to_owned(), participant, source, person, shown));
    true
}

/// Files that the manifest did not know have their place by the dates in them.
fn place(manifest: &mut Manifest, dates: &[(String, Option<i64>)]) {
    let first = dates.iter().filter_map(|(_, date)| *date).min();
    let started = OffsetDateTime::parse(&manifest.started_at, &Rfc3339).ok();
    let mut start = started.map(|at| (at.unix_timestamp_nanos() / 1_000_000) as i64);
    if dates.len() == manifest.files.len()
        && let Some(first) = first
    {
        start = Some(first);
        let since_1970 = std::time::Duration::from_millis(first.max(0) as u64);
        manifest.started_at = WallClock::new(std::time::SystemTime::UNIX_EPOCH + since_1970).text(0);
    }
    for (name, date) in dates {
        let entry = manifest.files.iter_mut().find(|entry| entry.file == *name);
        if let (Some(entry), Some(date), Some(start)) = (entry, *date, start) {
            entry.offset_ms = (date - start).clamp(0, LONGEST_MS) as u64;
        }
    }
}

/// The files in a folder that have names of ours, those that grow too.
fn ours(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_ours = |path: &PathBuf| {
        let name = webm::final_path(path);
        name.file_name().and_then(|n| n.to_str()).is_some_and(|n| parse_file_name(n).is_some())
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|item| item.path()).filter(is_ours).collect();
    files.sort();
    Ok(files)
}

/// When the last of the files was written.
fn ended_at(folder: &Path, manifest: &Manifest) -> String {
    let times = manifest.files.iter().filter_map(|entry| entry.closed_at.clone());
    times.max().or_else(|| modified(folder)).unwrap_or_else(|| manifest.started_at.clone())
}

fn modified(path: &Path) -> Option<String> {
    let at = fs::metadata(path).ok()?.modified().ok()?;
    Some(WallClock::new(at).text(0))
}

/// For `close_reason`: the file is there, but nobody can read it.
const UNUSABLE: &str = "unusable";
/// A clock that was wrong puts no file further away than this.
const LONGEST_MS: i64 = 7 * 24 * 3600 * 1000;

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
