//! Manifests on their way into the catalogue. The recorder's news must not wait for a database that is busy, and a
//! database that is busy must lose no news: of each recording the newest manifest waits here until it is taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reelay_signaling::RecordingId;
use tokio::sync::Notify;
use tracing::{error, warn};

use super::Manifest;
use super::catalog::Entry;
use super::library::{Library, LibraryError};

/// Holds at most one manifest of each recording. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Intake(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<BTreeMap<RecordingId, Manifest>>,
    wake: Notify,
}

impl Intake {
    /// Takes a manifest at once; an older one of the same recording is dropped.
    pub fn put(&self, manifest: Manifest) {
        self.waiting().insert(manifest.id.clone(), manifest);
        self.0.wake.notify_one();
    }

    /// Puts what comes into the library and tells `listed` of each, until it is dropped.
    pub async fn run(&self, library: &Library, listed: impl Fn(&Entry)) {
        loop {
            let Some((id, manifest)) = self.next() else {
                self.0.wake.notified().await;
                continue;
            };
            match self.list(library, &manifest).await {
                Ok(entry) => listed(&entry),
                Err(LibraryError::Entry(error)) => error!(recording = %id, %error, "a recording cannot be listed"),
                Err(error) => {
                    warn!(recording = %id, %error, "the catalogue is busy, a recording is listed later");
                    // Unless there is newer news by now.
                    self.waiting().entry(id).or_insert(manifest);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn list(&self, library: &Library, manifest: &Manifest) -> Result<Entry, LibraryError> {
        let value = serde_json::to_value(manifest).map_err(|error| LibraryError::Entry(error.into()))?;
        library.put(value).await
    }

    fn next(&self) -> Option<(RecordingId, Manifest)> {
        self.waiting().pop_first()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<RecordingId, Manifest>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(n: u32, duration_ms: u64) -> Manifest {
        serde_json::from_value(json!({"id": format!("01920000-0000-7000-8000-{n:012x}"), "room": "team",
            "state": "recording", "started_at": "2026-11-20T10:00:00Z", "duration_ms": duration_ms}))
        .unwrap()
    }

    #[tokio::test]
    async fn newest_manifest_of_each_recording_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::open(dir.path(), None).await.unwrap();
        let intake = Intake::default();
        for n in [1, 2, 1, 2] {
            intake.put(manifest(n, 5));
        }
        intake.put(manifest(1, 9));
        let (listed, mut all_listed) = tokio::sync::mpsc::unbounded_channel();
        let wait = async {
            let mut lengths = Vec::new();
            while lengths.len() < 2 {
                lengths.push(all_listed.recv().await.unwrap());
            }
            lengths
        };
        let lengths = tokio::select! {
            () = intake.run(&library, |entry| listed.send(entry.duration_ms).unwrap()) => unreachable!("it runs until it is dropped"),
            lengths = wait => lengths,
        };
        assert_eq!(lengths, [9, 5]);
        assert_eq!(library.catalog().totals().await.unwrap().recordings, 2);
    }
}
