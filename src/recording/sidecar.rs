//! Appends rows to the `.idx` beside a file. It is a cache: an error here never stops a recording, and a repair rebuilds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::storage::{Storage, StorageFile, write_all_at};
use crate::webm::index::{self, ROW_LEN, Row};

pub(super) struct Sidecar {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    /// `None` once it could not be made.
    file: Option<Arc<dyn StorageFile>>,
    written: u64,
    pending: Vec<u8>,
}

impl Sidecar {
    /// The sidecar of the file at `path`, emptied.
    pub fn create(storage: Arc<dyn Storage>, path: &Path) -> Self {
        let path = index::path_of(path);
        let file = storage.remove(&path).and_then(|()| storage.create(&path)).ok();
        Self { storage, path, file, written: 0, pending: Vec::new() }
    }

    /// The sidecar of the file at `path`, to be written over from the beginning.
    pub fn rebuild(storage: Arc<dyn Storage>, path: &Path) -> Self {
        let path = index::path_of(path);
        let file = storage.open(&path).or_else(|_| storage.create(&path)).ok();
        Self { storage, path, file, written: 0, pending: Vec::new() }
    }

    /// Adds a row; it is written with the next flush, or when many wait.
    pub fn push(&mut self, row: &Row) {
        if self.file.is_some() {
            self.pending.extend_from_slice(&row.encode());
        }
        if self.pending.len() >= FLUSH_LEN {
            self.flush();
        }
        if self.pending.len() > MAX_PENDING {
            // A gap would end the list for every reader, so nothing may follow.
            self.file = None;
            self.pending = Vec::new();
        }
    }

    /// Writes what waits; on an error it is tried again with the next flush.
    pub fn flush(&mut self) {
        let Some(file) = &self.file else { return };
        if !self.pending.is_empty() && write_all_at(&**file, self.written, &self.pending).is_ok() {
            self.written += self.pending.len() as u64;
            self.pending.clear();
        }
    }

    /// Writes the rest, cuts what an earlier sidecar had more, and makes it durable.
    pub fn close(&mut self) {
        self.flush();
        if let Some(file) = &self.file {
            let _ = file.set_len(self.written);
            let _ = file.sync_data();
        }
    }

    /// Removes the sidecar.
    pub fn remove(&mut self) {
        self.file = None;
        let _ = self.storage.remove(&self.path);
    }
}

const FLUSH_LEN: usize = 100 * ROW_LEN;
const MAX_PENDING: usize = 64 * FLUSH_LEN;
