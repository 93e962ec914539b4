//! The recorder's helper for everything on disk that is not media: manifests, events, levels, and making media durable.
//! A thread of its own, so that a disk that stalls here does not keep packets waiting. What the disk refuses is tried again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::api::Update;
use super::manifest::Manifest;
use super::recover::Later;
use super::storage::{Storage, StorageFile};
use super::store::{self, Sureness};
use super::watch::Busy;

/// What is to be kept. Done in order.
pub enum Job {
    /// Write the manifest into its folder, and tell.
    Manifest(PathBuf, Box<Manifest>),
    /// Append to a file.
    Append(PathBuf, Vec<u8>),
    /// `fdatasync`; the flag is set to false when done, `failed` to true if it did not work.
    Sync {
        /// Which file.
        file: Arc<dyn StorageFile>,
        /// True until it is done.
        busy: Arc<AtomicBool>,
        /// True when it did not work.
        failed: Arc<AtomicBool>,
    },
    /// Make the names in a folder durable.
    SyncDir(PathBuf),
    /// All before is done: answer.
    Done(oneshot::Sender<Vec<Manifest>>, Vec<Manifest>),
    /// All before is done, the manifest of this folder too: something for the background.
    Then(PathBuf, Later),
    /// End the thread.
    Stop,
}

/// The way to the helper.
#[derive(Debug, Clone)]
pub struct Keeper {
    jobs: Sender<Job>,
    queued: Arc<AtomicUsize>,
    busy: Arc<Busy>,
}

impl Keeper {
    /// Gives it something to do. While the disk stalls, appends beyond a limit are dropped and counted.
    pub fn keep(&self, job: Job) {
        if matches!(job, Job::Append(..)) && self.queued.load(Ordering::Relaxed) >= MAX_QUEUED {
            metrics::counter!("recording_lines_dropped_total").increment(1);
            return;
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        // It lives as long as the recorder.
        let _ = self.jobs.send(job);
    }

    /// True when so much waits that what can wait should not be given to it.
    pub fn is_behind(&self) -> bool {
        self.queued.load(Ordering::Relaxed) >= BEHIND
    }

    /// True when the disk has kept it waiting for long.
    pub fn is_stalled(&self) -> bool {
        self.busy.is_stalled()
    }
}

/// Starts the thread. What is to be done after it goes to `later`.
///
/// # Errors
/// When no thread can be made.
pub fn start(
    storage: Arc<dyn Storage>,
    updates: mpsc::UnboundedSender<Update>,
    later: Sender<Later>,
) -> io::Result<(Keeper, JoinHandle<()>)> {
    let (jobs, queue) = channel();
    let keeper = Keeper { jobs, queued: Arc::default(), busy: Arc::default() };
    let (queued, busy) = (keeper.queued.clone(), keeper.busy.clone());
    let desk = Desk { storage, updates, later, refused: Refused::default() };
    let thread =
        std::thread::Builder::new().name("reelay-keeper".into()).spawn(move || desk.run(&queue, &queued, &busy))?;
    Ok((keeper, thread))
}

struct Desk {
    storage: Arc<dyn Storage>,
    updates: mpsc::UnboundedSender<Update>,
    later: Sender<Later>,
    refused: Refused,
}

/// What the disk refused, until it takes it.
#[derive(Default)]
struct Refused {
    manifests: BTreeMap<PathBuf, Box<Manifest>>,
    appends: BTreeMap<PathBuf, Vec<u8>>,
    /// To be done once the manifest is there.
    later: Vec<(PathBuf, Later)>,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.appends.is_empty() && self.later.is_empty()
    }
}

impl Desk {
    fn run(mut self, queue: &Receiver<Job>, queued: &AtomicUsize, busy: &Busy) {
        let mut tried = Instant::now();
        loop {
            let job = match self.refused.is_empty() {
                true => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => queue.recv_timeout(RETRY),
            };
            busy.begin();
            let ends = match job {
                Ok(job) => {
                    queued.fetch_sub(1, Ordering::Relaxed);
                    let ends = matches!(job, Job::Stop | Job::Done(..));
                    if !self.refused.is_empty() && (ends || tried.elapsed() >= RETRY) {
                        self.retry();
                        tried = Instant::now();
                    }
                    if matches!(job, Job::Stop) {
                        return;
                    }
                    self.run_job(job);
                    false
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.retry();
                    tried = Instant::now();
                    false
                }
                Err(RecvTimeoutError::Disconnected) => true,
            };
            busy.end();
            if ends {
                return;
            }
        }
    }

    fn run_job(&mut self, job: Job) {
        match job {
            Job::Manifest(folder, manifest) => {
                self.refused.manifests.remove(&folder);
                let written = self.write_manifest(&folder, &manifest);
                let _ = self.updates.send(Update::Manifest((*manifest).clone()));
                if let Err(error) = written {
                    warn!(recording = %manifest.id, %error, "cannot write the manifest, it is tried again");
                    self.refused.manifests.insert(folder, manifest);
                }
            }
            Job::Append(path, bytes) => match self.refused.appends.get_mut(&path) {
                Some(waiting) if waiting.len() + bytes.len() <= MAX_REFUSED => waiting.extend(bytes),
                Some(_) => metrics::counter!("recording_lines_dropped_total").increment(1),
                None => {
                    if let Err(error) = store::append(&*self.storage, &path, &bytes) {
                        warn!(%error, "cannot append to a file of a recording, it is tried again");
                        self.refused.appends.insert(path, bytes);
                    }
                }
            },
            Job::Sync { file, busy, failed } => {
                if let Err(error) = file.sync_data() {
                    warn!(%error, "cannot make a recording durable");
                    failed.store(true, Ordering::Relaxed);
                }
                busy.store(false, Ordering::Relaxed);
            }
            Job::SyncDir(dir) => {
                if let Err(error) = self.storage.sync_dir(&dir) {
                    warn!(%error, "cannot make the recordings folder durable");
                }
            }
            Job::Done(done, manifests) => {
                let _ = done.send(manifests);
            }
            Job::Then(folder, later) if self.refused.manifests.contains_key(&folder) => {
                self.refused.later.push((folder, later));
            }
            Job::Then(_, later) => {
                let _ = self.later.send(later);
            }
            Job::Stop => {}
        }
    }

    /// What was refused, once more. A folder that is gone takes nothing any more.
    fn retry(&mut self) {
        let refused = std::mem::take(&mut self.refused);
        for (folder, manifest) in refused.manifests {
            match self.write_manifest(&folder, &manifest) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => drop(self.refused.manifests.insert(folder, manifest)),
            }
        }
        for (folder, later) in refused.later {
            self.run_job(Job::Then(folder, later));
        }
        for (path, bytes) in refused.appends {
            match store::append(&*self.storage, &path, &bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => drop(self.refused.appends.insert(path, bytes)),
            }
        }
    }

    fn write_manifest(&self, folder: &Path, manifest: &Manifest) -> io::Result<()> {
        store::write_manifest(&*self.storage, folder, manifest, Sureness::Power)
    }
}

/// How often the disk is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// More jobs than a hundred recordings make in a second.
const BEHIND: usize = 1_000;
const MAX_QUEUED: usize = 20_000;
/// Bytes of one file that wait for a disk that refuses.
const MAX_REFUSED: usize = 256 * 1024;
