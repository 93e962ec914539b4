//! The recorder's helper for everything on disk that is not media: manifests, events, levels, and making media durable.
//! A thread of its own, so that a disk that stalls here does not keep packets waiting.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::api::Update;
use super::manifest::Manifest;
use super::store::{self, Sureness};

/// What is to be kept. Done in order.
pub enum Job {
    /// Write the manifest into its folder, and tell.
    Manifest(PathBuf, Box<Manifest>),
    /// Append to a file.
    Append(PathBuf, Vec<u8>),
    /// `fdatasync`; the flag is set to false when done, `failed` to true if it did not work.
    Sync {
        /// Which file.
        file: Arc<File>,
        /// True until it is done.
        busy: Arc<AtomicBool>,
        /// True when it did not work.
        failed: Arc<AtomicBool>,
    },
    /// All before is done: answer.
    Done(oneshot::Sender<Vec<Manifest>>, Vec<Manifest>),
    /// All before is done: this recording can be hashed.
    Hash(PathBuf),
    /// End the thread.
    Stop,
}

/// Starts the thread. What it is done with goes to `hash`.
///
/// # Errors
/// When no thread can be made.
pub fn start(
    updates: mpsc::UnboundedSender<Update>,
    hash: Sender<PathBuf>,
) -> io::Result<(Sender<Job>, JoinHandle<()>)> {
    let (jobs, queue) = channel();
    let thread =
        std::thread::Builder::new().name("reelay-keeper".into()).spawn(move || run(&queue, &updates, &hash))?;
    Ok((jobs, thread))
}

fn run(queue: &Receiver<Job>, updates: &mpsc::UnboundedSender<Update>, hash: &Sender<PathBuf>) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Manifest(folder, manifest) => {
                if let Err(error) = store::write_manifest(&folder, &manifest, Sureness::Power) {
                    warn!(recording = %manifest.id, %error, "cannot write the manifest");
                }
                let _ = updates.send(Update::Manifest(*manifest));
            }
            Job::Append(path, bytes) => {
                if let Err(error) = store::append(&path, &bytes) {
                    warn!(%error, "cannot append to a file of a recording");
                }
            }
            Job::Sync { file, busy, failed } => {
                if let Err(error) = file.sync_data() {
                    warn!(%error, "cannot make a recording durable");
                    failed.store(true, Ordering::Relaxed);
                }
                busy.store(false, Ordering::Relaxed);
            }
            Job::Done(done, manifests) => {
                let _ = done.send(manifests);
            }
            Job::Hash(folder) => {
                let _ = hash.send(folder);
            }
            Job::Stop => return,
        }
    }
}
