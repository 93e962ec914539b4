//! Sees that the disk keeps the recorder waiting, and says so in its place: a thread that waits for a write can tell nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reelay_signaling::{ParticipantId, RecordingState, RoomName, RoomRecording};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::api::Update;
use super::events::{self, WallClock};
use super::keeper::{Job, Keeper};
use super::store;
use crate::media::RoomKey;

/// Since when a thread has been at one piece of work.
#[derive(Debug)]
pub struct Busy {
    zero: Instant,
    since_ms: AtomicI64,
}

impl Default for Busy {
    fn default() -> Self {
        Self { zero: Instant::now(), since_ms: AtomicI64::new(IDLE) }
    }
}

impl Busy {
    /// It begins now.
    pub fn begin(&self) {
        self.since_ms.store(self.zero.elapsed().as_millis() as i64, Ordering::Relaxed);
    }

    /// It is done.
    pub fn end(&self) {
        self.since_ms.store(IDLE, Ordering::Relaxed);
    }

    /// True when it takes longer than any disk that works.
    pub fn is_stalled(&self) -> bool {
        self.zero.elapsed().as_millis() as i64 - STALLED.as_millis() as i64 > self.since_ms.load(Ordering::Relaxed)
    }
}

/// What a room was told last.
#[derive(Debug)]
pub struct Told {
    /// The name of the room.
    pub name: RoomName,
    /// How its recording is.
    pub recording: RoomRecording,
    /// Whose flows go into it.
    pub recorded: Vec<ParticipantId>,
    /// Server time 0, and the wall clock that its recording goes by.
    pub clock: (Instant, WallClock),
}

/// What the recorder's thread shows to its watch.
#[derive(Debug, Default)]
pub struct Watch {
    /// Its work.
    pub busy: Busy,
    told: Mutex<BTreeMap<RoomKey, Told>>,
    has_spoken: AtomicBool,
}

impl Watch {
    /// What a room was told last.
    pub fn told(&self, room: RoomKey, told: Told) {
        if told.recording.state == RecordingState::Off {
            self.rooms().remove(&room);
        } else {
            self.rooms().insert(room, told);
        }
    }

    /// True once after rooms were told of a stall.
    pub fn take_spoken(&self) -> bool {
        self.has_spoken.swap(false, Ordering::Relaxed)
    }

    fn speak(&self, dir: &std::path::Path, updates: &UnboundedSender<Update>, keeper: &Keeper) {
        self.has_spoken.store(true, Ordering::Relaxed);
        warn!("the disk of the recordings does not answer");
        metrics::counter!("recording_stalls_total").increment(1);
        for (room, Told { name, recording, recorded, clock: (zero, wall) }) in self.rooms().iter() {
            if recording.state != RecordingState::Recording {
                continue;
            }
            let reason = Some(REASON.to_owned());
            let stalled = RoomRecording { state: RecordingState::Interrupted, reason, ..recording.clone() };
            let _ = updates.send(Update::Room { room: *room, recording: stalled, recorded: recorded.clone() });
            let Some(id) = recording.id.clone() else { continue };
            let event = json!({"type": "interrupted", "reason": REASON});
            let line = events::line(event, recording.duration_ms, &wall.text(zero.elapsed().as_micros() as i64));
            let path = dir.join(id.as_str()).join(store::EVENTS);
            keeper.keep(Job::Append(path, format!("{line}\n").into_bytes()));
            let _ = updates.send(Update::Event { recording: id, room: name.clone(), line });
        }
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<RoomKey, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that watches; it ends when the other end of `stop` is dropped.
///
/// # Errors
/// When no thread can be made.
pub fn start(
    watch: Arc<Watch>,
    dir: PathBuf,
    updates: UnboundedSender<Update>,
    keeper: Keeper,
    stop: Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("reelay-watch".into()).spawn(move || {
        let mut is_told = false;
        while stop.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let is_stalled = watch.busy.is_stalled();
            if is_stalled && !is_told {
                watch.speak(&dir, &updates, &keeper);
            }
            is_told = is_stalled;
        }
    })
}

/// For manifests, events and people: no disk that works takes so long.
pub const REASON: &str = "io-error";
const STALLED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(250);
const IDLE: i64 = i64::MAX;
