//! SHA-256 of finished files, in the background: closing a recording does not wait for reading it again.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest::{Context, SHA256};

use super::manifest::Manifest;
use super::storage::Storage;
use super::store::{self, ReadError};

/// Fills in what is missing in the manifest of a finished recording. Gives the manifest if it changed.
/// `stop` ends it early; what was not done is done at the next start.
///
/// # Errors
/// When the recording cannot be read or its manifest not be written.
pub fn hash_recording(
    storage: &dyn Storage,
    folder: &Path,
    now: &dyn Fn() -> String,
    stop: &AtomicBool,
) -> Result<Option<Manifest>, ReadError> {
    let mut manifest = store::read_manifest(folder)?;
    if manifest.is_running() {
        return Ok(None);
    }
    let mut changed = false;
    for entry in manifest.files.iter_mut().filter(|entry| entry.sha256.is_none() && !entry.open) {
        if let Ok(Some(digest)) = hash_file(&folder.join(&entry.file), stop) {
            entry.sha256 = Some(digest);
            entry.hashed_at = Some(now());
            changed = true;
        }
    }
    if !changed {
        return Ok(None);
    }
    // Reading took its time; somebody may have been erased meanwhile.
    let _edit = edit();
    let mut now = store::read_manifest(folder)?;
    for entry in &mut now.files {
        if let Some(known) = manifest.files.iter().find(|known| known.file == entry.file) {
            (entry.sha256, entry.hashed_at) = (known.sha256.clone(), known.hashed_at.clone());
        }
    }
    store::update_manifest(storage, folder, &now)?;
    Ok(Some(now))
}

/// Held while the manifest of a finished recording is changed: here, and by who erases a person.
pub(super) fn edit() -> MutexGuard<'static, ()> {
    static EDIT: Mutex<()> = Mutex::new(());
    EDIT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash_file(path: &Path, stop: &AtomicBool) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
    }
    Ok(Some(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
}
