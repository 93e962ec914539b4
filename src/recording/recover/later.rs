//! What is left to do after the start: hashing what was closed, and ending files that were out of reach, once they can be
//! reached again: a disk that was taken away comes back, or one that refused takes writes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use reelay_signaling::{RecordingId, RecordingStatus};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use super::{UNUSABLE, Work, is_unfinished, is_unusable};
use crate::recording::api::Update;
use crate::recording::hash;
use crate::recording::manifest::{Manifest, SegmentEntry};
use crate::recording::repair::{self, Outcome, RepairError};
use crate::recording::store::{self, ReadError};
use crate::webm;

/// Something to do for a recording of this start.
pub enum Later {
    /// It is closed: hash its files.
    Hash(PathBuf),
    /// One of its files went out of sight, or could not be ended.
    Away(Away),
    /// One of its files is back, and it is over: list the file in the manifest that is there.
    List(Away),
}

/// A file of a recording, in a folder that may not be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Away {
    /// The recording.
    pub recording: RecordingId,
    /// Its folder.
    pub folder: PathBuf,
    /// What is known of the file. One of no bytes held nothing and is gone.
    pub entry: Box<SegmentEntry>,
}

/// Who hears of files that are back.
pub type Back = Box<dyn Fn(Away) + Send>;

struct Waiting {
    away: Away,
    is_ended: bool,
    next: Instant,
    pause: Duration,
}

pub(super) fn run(
    work: &Work,
    queue: &Receiver<Later>,
    updates: &UnboundedSender<Update>,
    back: &Back,
    stop: &AtomicBool,
) {
    let mut waiting: Vec<Waiting> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let next = queue.recv_timeout(STOP_WITHIN);
        let (away, is_ended) = match next {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => (None, false),
            Ok(Later::Hash(folder)) => {
                work.hash(&folder, updates, stop);
                (None, false)
            }
            Ok(Later::Away(away)) => (Some(away), false),
            Ok(Later::List(away)) => (Some(away), true),
        };
        // The next start finds those that are too many.
        if let Some(away) = away.filter(|_| waiting.len() < MAX_WAITING) {
            waiting.push(Waiting { away, is_ended, next: Instant::now(), pause: LOOK });
        }
        for at in (0..waiting.len()).rev() {
            if waiting[at].next > Instant::now() {
                continue;
            }
            let Waiting { away, is_ended, .. } = &waiting[at];
            let others = waiting.iter().enumerate().any(|(n, one)| n != at && one.away.folder == away.folder);
            let done = match is_ended {
                false => work.end(away.clone(), back),
                true => work.list(away, others, updates, stop),
            };
            match done {
                Tried::Done => drop(waiting.swap_remove(at)),
                Tried::Away => waiting[at].next = Instant::now() + LOOK,
                Tried::Refused => {
                    let one = &mut waiting[at];
                    one.next = Instant::now() + one.pause;
                    one.pause = (one.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

enum Tried {
    Done,
    /// It is not there.
    Away,
    /// It is there, but the disk does not let us.
    Refused,
}

impl Work {
    /// Ends a file that was away, if it is there now.
    fn end(&self, mut away: Away, back: &Back) -> Tried {
        let path = away.folder.join(&away.entry.file);
        let part = webm::part_path(&path);
        let there = match (self.storage.exists(&part), self.storage.exists(&path)) {
            (true, _) => part,
            (false, true) => path,
            (false, false) => return Tried::Away,
        };
        // One that was closed is only to be listed again.
        if webm::is_part(&there) || away.entry.open {
            let entry = &mut *away.entry;
            let reason = entry.close_reason.clone();
            match repair::repair(&self.storage, &there) {
                Ok(report) if report.outcome == Outcome::Removed => entry.bytes = 0,
                Ok(report) => self.note_in(entry, &report, &away.folder),
                Err(error @ (RepairError::Storage(_) | RepairError::Exists(_))) => {
                    warn!(recording = %away.recording, %error, "a file cannot be ended yet");
                    return Tried::Refused;
                }
                Err(error) => {
                    warn!(recording = %away.recording, %error, "a file cannot be repaired");
                    entry.open = false;
                    entry.close_reason = Some(UNUSABLE.into());
                }
            }
            if !is_unusable(entry) {
                entry.close_reason = reason.or(entry.close_reason.take());
            }
        }
        info!(recording = %away.recording, file = away.entry.file, "a file is back");
        back(away);
        Tried::Done
    }

    /// Lists a file in the manifest of a recording that is over.
    fn list(&self, away: &Away, others: bool, updates: &UnboundedSender<Update>, stop: &AtomicBool) -> Tried {
        if !self.storage.exists(&away.folder) {
            return Tried::Away;
        }
        match self.add(away, others) {
            Ok(_) => {}
            Err(error) if error.is_lost() => {}
            Err(error) => {
                warn!(recording = %away.recording, %error, "a file cannot be listed");
                return match error {
                    ReadError::Disk(_) => Tried::Refused,
                    ReadError::Damaged(_) | ReadError::Other => Tried::Done,
                };
            }
        }
        // What else is unfinished in this folder, or lost. Nobody records into it any more.
        if let Err(error) = self.look(&away.folder, &away.recording, updates) {
            warn!(recording = %away.recording, %error, "cannot repair a recording");
        }
        if let Ok(manifest) = store::read_manifest(&away.folder) {
            let _ = updates.send(Update::Manifest(manifest));
        }
        self.hash(&away.folder, updates, stop);
        Tried::Done
    }

    fn add(&self, Away { folder, entry, .. }: &Away, others: bool) -> Result<(), ReadError> {
        let _edit = hash::edit();
        let mut manifest = store::read_manifest(folder)?;
        put(&mut manifest, folder, entry);
        let is_whole = !others && !is_unfinished(&manifest);
        if is_whole && manifest.state == RecordingStatus::Interrupted {
            (manifest.state, manifest.reason) = (RecordingStatus::Recovered, None);
        }
        manifest.files.sort_by_key(|entry| entry.offset_ms);
        manifest.duration_ms = manifest.length_ms();
        store::update_manifest(&*self.storage, folder, &manifest)?;
        Ok(())
    }
}

/// Puts the entry of a file that is back into a manifest.
pub fn put(manifest: &mut Manifest, folder: &std::path::Path, entry: &SegmentEntry) {
    manifest.files.retain(|known| known.file != entry.file);
    let owner = manifest.participants.iter().find(|person| person.id == entry.participant);
    if owner.is_some_and(|owner| owner.person.is_empty() && !owner.recorded) {
        // Its owner was erased meanwhile.
        let path = folder.join(&entry.file);
        for path in [path.clone(), webm::index::path_of(&path), path.with_extension("levels")] {
            let _ = std::fs::remove_file(path);
        }
    } else if entry.bytes > 0 {
        manifest.files.push(entry.clone());
    }
}

const LOOK: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const MAX_WAITING: usize = 10_000;
const STOP_WITHIN: Duration = Duration::from_millis(100);
