//! The recorder: one thread that takes what taps deliver and what happens in rooms, and writes files.
//! It may take its time; the media thread never waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc::UnboundedSender;

use super::api::{Input, Options, StartError, Update};
use super::events::{MachineClock, WallClock};
use super::keeper::{self, Job};
use super::recover;
use super::session::Shared;
use super::storage::{Disk, Storage};
use super::store::{self, Store};
use super::watch::{self, Watch};

mod replay;
mod worker;

pub use replay::{ReplayError, replay};
use worker::{Message, Worker};

/// The way to the recorder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    inputs: Sender<Message>,
    dir: PathBuf,
}

/// The recorder's threads. Dropping it closes all recordings and waits for that.
#[derive(Debug)]
pub struct RecorderThread {
    inputs: Sender<Message>,
    recorder: Option<JoinHandle<()>>,
    background: Option<JoinHandle<()>>,
    stop_background: Arc<AtomicBool>,
}

impl Recorder {
    /// Takes the recordings folder, starts the threads, and repairs what a crash left behind while the server runs already.
    ///
    /// # Errors
    /// When the folder cannot be used, or another server uses it.
    pub fn start(options: Options, updates: UnboundedSender<Update>) -> Result<(Self, RecorderThread), StartError> {
        Self::start_on(Arc::new(Disk), Arc::new(SystemTime::now), options, updates)
    }

    /// The same on another disk and by another wall clock, for tests.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(
        storage: Arc<dyn Storage>,
        clock: MachineClock,
        options: Options,
        updates: UnboundedSender<Update>,
    ) -> Result<(Self, RecorderThread), StartError> {
        let store = Store::open(&options.dir)?;
        let dir = options.dir.clone();
        let found = store.recordings().map_err(|source| StartError::Folder { path: dir.clone(), source })?;
        // Both clocks are read once, at the same instant.
        let (zero, wall) = (Instant::now(), WallClock::new(clock()));
        let stop_background = Arc::new(AtomicBool::new(false));
        let (inputs, queue) = channel();
        let (later, to_do) = channel();
        let to_recorder = inputs.clone();
        let background = recover::start(
            recover::Work { storage: storage.clone(), dir: dir.clone(), found, clock: clock.clone() },
            updates.clone(),
            to_do,
            Box::new(move |away| drop(to_recorder.send(Message::Back(away)))),
            stop_background.clone(),
        )
        .map_err(StartError::Thread)?;
        let (keeper, keeper_thread) =
            keeper::start(storage.clone(), updates.clone(), later).map_err(StartError::Thread)?;
        let (tap_queue, taps) = channel();
        let watch = Arc::new(Watch::default());
        let (stop_watch, stopped) = channel();
        let watcher = watch::start(watch.clone(), dir.clone(), updates.clone(), keeper.clone(), stopped)
            .map_err(StartError::Thread)?;
        let worker =
            Worker::new(Shared { options, storage, zero, wall, clock, updates, keeper, watch }, store, tap_queue);
        let recorder = std::thread::Builder::new()
            .name("reelay-recorder".into())
            .spawn(move || {
                let keeper = worker.shared.keeper.clone();
                worker.run(&queue, &taps);
                keeper.keep(Job::Stop);
                let _ = keeper_thread.join();
                drop(stop_watch);
                let _ = watcher.join();
            })
            .map_err(StartError::Thread)?;
        let thread = RecorderThread {
            inputs: inputs.clone(),
            recorder: Some(recorder),
            background: Some(background),
            stop_background,
        };
        Ok((Self { inputs, dir }, thread))
    }

    /// Tells the recorder something. Never waits.
    pub fn tell(&self, input: Input) {
        let _ = self.inputs.send(Message::Input(Instant::now(), input));
    }

    /// The recordings folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Free bytes in the recordings folder, and how many hours of one camera that is.
    pub fn free(&self) -> Option<(u64, u64)> {
        let bytes = store::free_bytes(&self.dir).ok()?;
        Some((bytes, store::hours(bytes)))
    }
}

impl RecorderThread {
    /// Closes all recordings and waits until everything is on disk.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.inputs.send(Message::Stop);
        if let Some(recorder) = self.recorder.take() {
            let _ = recorder.join();
        }
        self.stop_background.store(true, Ordering::Relaxed);
        if let Some(background) = self.background.take() {
            let _ = background.join();
        }
    }
}

impl Drop for RecorderThread {
    fn drop(&mut self) {
        self.end();
    }
}
