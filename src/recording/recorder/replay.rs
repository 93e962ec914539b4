//! Runs a capture through the recorder's own code, in the time of the capture: the same bytes come out.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use reelay_signaling::RecordingId;
use tokio::sync::mpsc::unbounded_channel;

use super::worker::Worker;
use crate::media::RoomKey;
use crate::recording::api::{StartError, Update};
use crate::recording::capture::line::{Head, Line, VERSION, What};
use crate::recording::events::WallClock;
use crate::recording::hash;
use crate::recording::keeper::{self, Job};
use crate::recording::manifest::Manifest;
use crate::recording::session::Shared;
use crate::recording::storage::{Disk, Storage};
use crate::recording::store::{ReadError, Store};

/// Why a capture cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The disk's.
    #[error("cannot read the capture")]
    Read(#[from] io::Error),
    /// Its first line is no head.
    #[error("not a capture of Reelay")]
    NoCapture,
    /// A newer one.
    #[error("a capture of version {0}; this Reelay reads version {VERSION}")]
    Version(u32),
    /// A line that means nothing.
    #[error("line {0} is damaged")]
    Damaged(u64),
    /// The folder for the recordings cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What came out cannot be hashed.
    #[error("cannot read what was recorded")]
    Hash(#[from] ReadError),
}

/// Runs the capture at `path` and puts its recordings into the folder `out`. Gives their manifests.
///
/// # Errors
/// [`ReplayError`]; what was recorded until then is closed.
pub fn replay(path: &Path, out: &Path) -> Result<Vec<Manifest>, ReplayError> {
    let mut ids = VecDeque::new();
    let head = read(path, |Line(_, what)| {
        if let What::Begun(id) = what {
            ids.push_back(id);
        }
    })?;
    let zero = Instant::now();
    let wall = WallClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(head.zero_unix_ms.max(0) as u64));
    let store = Store::open(out)?;
    let (updates, mut told) = unbounded_channel();
    let (later, _) = channel();
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    let (keeper, keeper_thread) = keeper::start(storage.clone(), updates.clone(), later).map_err(StartError::Thread)?;
    let recordings: Vec<RecordingId> = ids.iter().cloned().collect();
    let (options, watch) = (head.options(out), Arc::default());
    let clock = Arc::new(SystemTime::now);
    let shared = Shared { options, storage, zero, wall, clock, updates, keeper: keeper.clone(), watch };
    let mut worker = Worker::new(shared, store, channel().0);
    worker.ids = ids;
    let mut end = zero;
    let result = read(path, |Line(at_ns, what)| {
        end = zero + Duration::from_nanos(at_ns);
        worker.repeat(end, what);
        // Nobody is there to be told.
        while let Ok(Update::Room { .. } | Update::Tap { .. } | Update::Manifest(_)) = told.try_recv() {}
    });
    worker.close_all(end, None);
    keeper.keep(Job::Stop);
    let _ = keeper_thread.join();
    result?;
    let mut manifests = Vec::new();
    for id in recordings {
        let folder = out.join(id.as_str());
        // One in which nothing was sent has none.
        if folder.exists() {
            hash::hash_recording(&Disk, &folder, &|| wall.text(0), &false.into())?;
            manifests.push(crate::recording::store::read_manifest(&folder)?);
        }
    }
    Ok(manifests)
}

/// Gives each line in order. A last line without its end is that of a server that was killed.
fn read(path: &Path, mut take: impl FnMut(Line)) -> Result<Head, ReplayError> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut text = Vec::new();
    reader.read_until(b'\n', &mut text)?;
    let head: Head = serde_json::from_slice(&text).map_err(|_| ReplayError::NoCapture)?;
    if head.reelay_capture != VERSION {
        return Err(ReplayError::Version(head.reelay_capture));
    }
    for number in 2.. {
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 || text.last() != Some(&b'\n') {
            break;
        }
        take(serde_json::from_slice(&text).map_err(|_| ReplayError::Damaged(number))?);
    }
    Ok(head)
}

impl Worker {
    /// Does once more what was captured.
    fn repeat(&mut self, now: Instant, what: What) {
        match what {
            What::Tick => self.on_tick(now),
            What::Second(seconds) => self.on_second(now, seconds),
            What::CloseAll => {
                self.close_all(now, None);
            }
            // It was counted on when it began.
            What::Begun(_) => {}
            other => {
                if let Some((track, mut item)) = other.item(now) {
                    self.on_item_of(now, &(track.participant.clone(), track.source), &mut item);
                } else if let Some(input) = other.input(RoomKey(1)) {
                    self.on_input(now, input);
                }
            }
        }
    }
}
