//! The library: the recordings folder and its catalogue, kept in step. The folder is the truth; where the two differ
//! the catalogue follows. Deleting moves a folder into the trash, from where it comes back until its time is over.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reelay_signaling::{ParticipantId, RecordingId};
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::captions::{self, Said};
use super::catalog::{Catalog, CatalogError, Entry, EntryError, Found, Terms};
use super::erase::erase;
use super::events::{self, WallClock};
use super::notes::{Notes, NotesError};
use super::shelf::{Folder, Place, Shelf};

/// The recordings folder and its catalogue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Library {
    catalog: Catalog,
    shelf: Shelf,
    /// Held by whoever changes an entry: notes and manifest come from two sides.
    edits: Arc<Mutex<()>>,
}

/// What a look through the folder did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Folders with a manifest.
    pub folders: usize,
    /// Manifests that were read, because they are new or changed.
    pub read: usize,
    /// Rows without a folder, now forgotten.
    pub forgotten: usize,
    /// Manifests that cannot be read.
    pub damaged: usize,
}

/// Why the library does not do something.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// No such recording, or its undo time is over.
    #[error("no such recording")]
    NotFound,
    /// It still runs or is being repaired; the text is its state.
    #[error("the recording is still {0}")]
    Active(String),
    /// Somebody wants it to be kept.
    #[error("the recording is to be kept")]
    Kept,
    /// Notes that cannot be kept like this.
    #[error(transparent)]
    Notes(#[from] NotesError),
    /// The database does not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The folder cannot be read or moved.
    #[error("the recordings folder does not answer")]
    Disk(#[from] std::io::Error),
    /// A manifest that the recorder gave cannot be listed.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl Library {
    /// Opens the library of this folder, and makes the folder if it is missing. The catalogue lies in it, unless `url`
    /// names another place (`sqlite:…` or a path).
    ///
    /// # Errors
    /// When the folder or the catalogue cannot be made or opened.
    pub async fn open(dir: &Path, url: Option<&str>) -> Result<Self, LibraryError> {
        std::fs::create_dir_all(dir)?;
        let path = match url {
            Some(url) => {
                PathBuf::from(url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url))
            }
            None => dir.join(CATALOG_FILE),
        };
        Ok(Self::new(Catalog::open(&path).await?, Shelf::new(dir)))
    }

    /// The library over this folder.
    pub fn new(catalog: Catalog, shelf: Shelf) -> Self {
        Self { catalog, shelf, edits: Arc::default() }
    }

    /// The index.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The folder.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Takes in a manifest from the recorder: opened, changed or closed.
    ///
    /// # Errors
    /// When it cannot be listed, or the database does not take it.
    pub async fn put(&self, manifest: Value) -> Result<Entry, LibraryError> {
        let _edit = self.edits.lock().await;
        let mut entry = self.noted(manifest).await?;
        if !is_active(&entry.state) {
            entry = self.worded(entry).await?;
        }
        self.catalog.upsert(&entry, now_ms()).await?;
        Ok(entry)
    }

    /// Changes what people say about a recording, also while it runs. Answers with them and the new entry.
    ///
    /// # Errors
    /// `NotFound`, `Notes`, or the disk or database does not answer.
    pub async fn annotate(
        &self,
        id: &RecordingId,
        change: impl FnOnce(Notes) -> Notes,
    ) -> Result<(Notes, Entry), LibraryError> {
        let _edit = self.edits.lock().await;
        let found = self.find(id).await?;
        let folder = self.shelf.folder(id, Place::Shown);
        let now = {
            let folder = folder.clone();
            blocking(move || Ok(Notes::read(&folder))).await?
        };
        let notes = change(now).tidied()?;
        let written = notes.clone();
        match blocking(move || written.write(&folder)).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(LibraryError::NotFound),
            result => result?,
        }
        let manifest = serde_json::from_str(&found.manifest).map_err(EntryError::from)?;
        let entry = self.noted(manifest).await?;
        self.catalog.upsert(&entry, now_ms()).await?;
        Ok((notes, entry))
    }

    /// Erases the person of a stay from a finished recording, for good. Answers how many files went, and the new entry.
    ///
    /// # Errors
    /// `NotFound` for no such recording or stay, `Active`, `Kept`, or the disk or database does not answer.
    pub async fn erase(&self, id: &RecordingId, stay: &ParticipantId) -> Result<(usize, Entry), LibraryError> {
        let _edit = self.edits.lock().await;
        let found = self.find(id).await?;
        if is_active(&found.state) {
            return Err(LibraryError::Active(found.state));
        }
        if found.is_kept() {
            return Err(LibraryError::Kept);
        }
        let (folder, stay) = (self.shelf.folder(id, Place::Shown), stay.clone());
        let erased = blocking(move || erase(&folder, &stay).map_err(std::io::Error::other)).await?;
        let erased = erased.ok_or(LibraryError::NotFound)?;
        let manifest = serde_json::to_value(&erased.manifest).map_err(EntryError::from)?;
        let entry = self.noted(manifest).await?;
        let entry = self.worded(entry).await?;
        self.catalog.upsert(&entry, now_ms()).await?;
        info!(recording = %id, files = erased.files, "a person was erased from a recording");
        Ok((erased.files, entry))
    }

    /// Where what somebody searches for is said in these recordings, for each that has it in its captions.
    ///
    /// # Errors
    /// When the work was broken off.
    pub async fn said(&self, ids: Vec<RecordingId>, query: &str) -> Result<HashMap<RecordingId, Said>, LibraryError> {
        let Some(terms) = Terms::of(query) else { return Ok(HashMap::new()) };
        let shelf = self.shelf.clone();
        let find = move |id: RecordingId| Some((id.clone(), captions::find(&shelf.folder(&id, Place::Shown), &terms)?));
        Ok(blocking(move || Ok(ids.into_iter().filter_map(find).collect())).await?)
    }

    async fn worded(&self, mut entry: Entry) -> Result<Entry, LibraryError> {
        let shelf = self.shelf.clone();
        let add = move || {
            shelf.add_words(&mut entry, Place::Shown);
            Ok(entry)
        };
        Ok(blocking(add).await?)
    }

    /// The entry of a manifest with its notes.
    async fn noted(&self, mut manifest: Value) -> Result<Entry, LibraryError> {
        let id = manifest.get("id").and_then(Value::as_str).and_then(|id| id.parse::<RecordingId>().ok());
        if let (Some(id), Some(_)) = (id, manifest.as_object()) {
            let folder = self.shelf.folder(&id, Place::Shown);
            let notes = blocking(move || Ok(Notes::read(&folder))).await?;
            manifest.as_object_mut().into_iter().for_each(|fields| notes.add_to(fields));
        }
        Ok(Entry::from_value(manifest)?)
    }

    /// Brings the catalogue in step with the folder; reads only manifests that changed. Safe while recordings run.
    ///
    /// # Errors
    /// When the folder or the database does not answer.
    pub async fn sync(&self) -> Result<SyncReport, LibraryError> {
        let began_ms = now_ms();
        let shelf = self.shelf.clone();
        let folders = blocking(move || shelf.folders()).await?;
        let mut known: HashMap<_, _> = self.catalog.known().await?.into_iter().map(|k| (k.id.clone(), k)).collect();
        let mut report = SyncReport { folders: folders.len(), ..SyncReport::default() };
        for folder in folders {
            let row = known.remove(&folder.id);
            if row.as_ref().is_none_or(|row| row.manifest_mtime_ns != folder.manifest_mtime_ns) {
                let Some(entry) = self.read(&folder).await? else {
                    report.damaged += 1;
                    continue;
                };
                self.catalog.upsert_older(&entry, began_ms).await?;
                report.read += 1;
            }
            let is_marked = row.is_some_and(|row| row.deleted_at_ms.is_some());
            if is_marked != (folder.place == Place::Trash) {
                let at = (folder.place == Place::Trash).then_some(began_ms);
                self.catalog.mark_deleted(&folder.id, at).await?;
            }
        }
        for id in known.into_keys() {
            // A recording that began meanwhile has its folder by now.
            if !self.exists(&id).await? {
                self.catalog.forget(&id).await?;
                report.forgotten += 1;
            }
        }
        Ok(report)
    }

    /// Builds the catalogue anew from the folder. For when nothing is being recorded.
    ///
    /// # Errors
    /// When the folder or the database does not answer.
    pub async fn rebuild(&self, mut progress: impl FnMut(usize, usize)) -> Result<SyncReport, LibraryError> {
        let now = now_ms();
        let shelf = self.shelf.clone();
        let folders = blocking(move || shelf.folders()).await?;
        let mut report = SyncReport { folders: folders.len(), ..SyncReport::default() };
        let mut entries = Vec::with_capacity(folders.len());
        for (n, folder) in folders.iter().enumerate() {
            match self.read(folder).await? {
                Some(entry) => entries.push((entry, (folder.place == Place::Trash).then_some(now))),
                None => report.damaged += 1,
            }
            progress(n + 1, folders.len());
        }
        report.read = entries.len();
        self.catalog.rebuild(entries, now).await?;
        Ok(report)
    }

    /// A recording that is not in the trash.
    ///
    /// # Errors
    /// `NotFound`, or the database does not answer.
    pub async fn find(&self, id: &RecordingId) -> Result<Found, LibraryError> {
        let found = self.catalog.find(id).await?.ok_or(LibraryError::NotFound)?;
        if found.deleted_at_ms.is_some() { Err(LibraryError::NotFound) } else { Ok(found) }
    }

    /// Puts a recording into the trash.
    ///
    /// # Errors
    /// `NotFound`, `Active`, or the disk or database does not answer.
    pub async fn delete(&self, id: &RecordingId) -> Result<Deletion, LibraryError> {
        let found = self.find(id).await?;
        if is_active(&found.state) {
            return Err(LibraryError::Active(found.state));
        }
        if found.is_kept() {
            return Err(LibraryError::Kept);
        }
        let now = now_ms();
        let at = WallClock::new(UNIX_EPOCH + Duration::from_millis(now.max(0) as u64)).text(0);
        let deletion = Deletion { until_ms: now + UNDO.as_millis() as i64, t_ms: found.duration_ms(), at };
        let line = events::line(serde_json::json!({"type": "deleted"}), deletion.t_ms, &deletion.at);
        let (shelf, folder) = (self.shelf.clone(), id.clone());
        match blocking(move || shelf.discard(&folder, &line)).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.catalog.forget(id).await?;
                return Err(LibraryError::NotFound);
            }
            result => result?,
        }
        self.catalog.mark_deleted(id, Some(now)).await?;
        info!(recording = %id, "recording deleted, it can be taken back for a while");
        Ok(deletion)
    }

    /// Takes a recording out of the trash.
    ///
    /// # Errors
    /// `NotFound` when it is not there (any more), or the disk or database does not answer.
    pub async fn undo(&self, id: &RecordingId) -> Result<(), LibraryError> {
        let found = self.catalog.find(id).await?.ok_or(LibraryError::NotFound)?;
        if found.deleted_at_ms.is_none() {
            return Err(LibraryError::NotFound);
        }
        let (shelf, folder) = (self.shelf.clone(), id.clone());
        match blocking(move || shelf.restore(&folder)).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(LibraryError::NotFound),
            result => result?,
        }
        self.catalog.mark_deleted(id, None).await?;
        info!(recording = %id, "recording taken back");
        Ok(())
    }

    /// Deletes for good what has been in the trash for longer than it can be taken back. Answers what went.
    ///
    /// # Errors
    /// When the database does not answer. A folder that cannot be removed is tried again the next time.
    pub async fn purge(&self, now_ms: i64) -> Result<Vec<RecordingId>, LibraryError> {
        let mut gone = Vec::new();
        for id in self.catalog.deleted_before(now_ms - UNDO.as_millis() as i64).await? {
            let (shelf, folder) = (self.shelf.clone(), id.clone());
            match blocking(move || shelf.purge(&folder)).await {
                Ok(()) => {
                    self.catalog.forget(&id).await?;
                    info!(recording = %id, "recording is gone for good");
                    gone.push(id);
                }
                Err(error) => warn!(recording = %id, %error, "cannot empty the trash"),
            }
        }
        Ok(gone)
    }

    /// Looks through the folder once, then empties the trash now and then, until it is dropped.
    pub async fn run(&self) {
        match self.sync().await {
            Ok(report) => info!(
                folders = report.folders,
                read = report.read,
                forgotten = report.forgotten,
                damaged = report.damaged,
                "catalogue is in step with the folder"
            ),
            Err(error) => warn!(%error, "cannot look through the recordings folder"),
        }
        let mut ticks = tokio::time::interval(PURGE_EVERY);
        loop {
            ticks.tick().await;
            if let Err(error) = self.purge(now_ms()).await {
                warn!(%error, "cannot empty the trash");
            }
        }
    }

    async fn read(&self, folder: &Folder) -> Result<Option<Entry>, LibraryError> {
        let (shelf, folder) = (self.shelf.clone(), folder.clone());
        let id = folder.id.clone();
        Ok(match blocking(move || Ok(shelf.read(&folder))).await? {
            Ok(entry) => Some(entry),
            Err(error) => {
                warn!(recording = %id, %error, "a recording cannot be listed");
                None
            }
        })
    }

    async fn exists(&self, id: &RecordingId) -> Result<bool, LibraryError> {
        let paths = [Place::Shown, Place::Trash].map(|place| self.shelf.folder(id, place));
        Ok(blocking(move || Ok(paths.iter().any(|path| path.is_dir()))).await?)
    }
}

/// True for states in which somebody still writes into the folder.
pub fn is_active(state: &str) -> bool {
    matches!(state, "waiting" | "recording" | "paused" | "repairing")
}

/// How long a deleted recording can be taken back.
pub const UNDO: Duration = Duration::from_secs(60);
const CATALOG_FILE: &str = "catalog.db";
const PURGE_EVERY: Duration = Duration::from_secs(10);

/// A recording that was put into the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Until when it can be taken back, in milliseconds since 1970.
    pub until_ms: i64,
    /// How long it is.
    pub t_ms: u64,
    /// When it was deleted, RFC 3339 UTC.
    pub at: String,
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::recording::catalog::Filter;

    fn manifest(n: u32, state: &str) -> Value {
        json!({"version": 1, "id": format!("01920000-0000-7000-8000-{n:012x}"), "room": "team", "state": state,
            "started_at": format!("2026-11-20T10:{n:02}:00Z"), "duration_ms": 1, "participants": [], "files": []})
    }

    fn write(dir: &Path, manifest: &Value) -> RecordingId {
        let id: RecordingId = manifest["id"].as_str().unwrap().parse().unwrap();
        let folder = dir.join(id.as_str());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        fs::write(folder.join("events.jsonl"), "{\"type\":\"chat\",\"text\":\"budget\"}\n").unwrap();
        id
    }

    async fn library(dir: &Path) -> Library {
        Library::open(dir, None).await.unwrap()
    }

    async fn listed(library: &Library) -> usize {
        library.catalog().list(&Filter { limit: 100, ..Filter::default() }).await.unwrap().summaries.len()
    }

    #[tokio::test]
    async fn sync_follows_the_folder_and_reads_only_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        let library = library(dir.path()).await;
        let first = write(dir.path(), &manifest(1, "complete"));
        write(dir.path(), &manifest(2, "complete"));
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        fs::create_dir(dir.path().join("01920000-0000-7000-8000-0000000000ff")).unwrap();
        let damaged = write(dir.path(), &manifest(3, "complete"));
        fs::write(library.shelf().folder(&damaged, Place::Shown).join("manifest.json"), "{").unwrap();
        let report = library.sync().await.unwrap();
        assert_eq!(report, SyncReport { folders: 3, read: 2, forgotten: 0, damaged: 1 });
        let found = Filter { text: Some("budget".into()), limit: 9, ..Filter::default() };
        assert_eq!(library.catalog().list(&found).await.unwrap().summaries.len(), 2);
        // Captions that come late are a change; a clock of the disk may be too coarse to tell.
        let captions = library.shelf().folder(&first, Place::Shown).join("captions");
        fs::create_dir(&captions).unwrap();
        let later = fs::File::create(captions.join("en.vtt")).unwrap();
        later.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
        assert_eq!(library.sync().await.unwrap().read, 1);
        fs::remove_dir_all(library.shelf().folder(&first, Place::Shown)).unwrap();
        let report = library.sync().await.unwrap();
        assert_eq!(report, SyncReport { folders: 2, read: 0, forgotten: 1, damaged: 1 });
        assert_eq!(listed(&library).await, 1);
    }

    #[tokio::test]
    async fn a_deleted_recording_comes_back_until_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let library = library(dir.path()).await;
        let id = write(dir.path(), &manifest(1, "complete"));
        library.sync().await.unwrap();
        let until = library.delete(&id).await.unwrap().until_ms;
        assert_eq!(listed(&library).await, 0);
        assert!(matches!(library.delete(&id).await, Err(LibraryError::NotFound)));
        // A rebuild in between knows that it is in the trash.
        library.rebuild(|_, _| ()).await.unwrap();
        assert_eq!(
            (listed(&library).await, library.purge(until - UNDO.as_millis() as i64).await.unwrap().len()),
            (0, 0)
        );
        library.undo(&id).await.unwrap();
        assert_eq!(listed(&library).await, 1);
        assert!(matches!(library.undo(&id).await, Err(LibraryError::NotFound)));
        let until = library.delete(&id).await.unwrap().until_ms;
        assert_eq!(library.purge(until + 1).await.unwrap(), std::slice::from_ref(&id));
        assert!(matches!(library.undo(&id).await, Err(LibraryError::NotFound)));
        assert!(!library.exists(&id).await.unwrap());
    }

    #[tokio::test]
    async fn notes_are_found_outlast_a_rebuild_and_protect() {
        let dir = tempfile::tempdir().unwrap();
        let library = library(dir.path()).await;
        let id = write(dir.path(), &manifest(1, "complete"));
        library.sync().await.unwrap();
        let noted = |_: Notes| Notes { title: "Quarter 季度".into(), tags: vec!["board".into()], keep: true };
        library.annotate(&id, noted).await.unwrap();
        let folder = library.shelf().folder(&id, Place::Shown);
        fs::create_dir(folder.join("captions")).unwrap();
        fs::write(folder.join("captions/zh.vtt"), "WEBVTT\n\n00:12.000 --> 00:14.000\n今天开会\n").unwrap();
        // The recorder's next word about it takes nothing away, and neither does a rebuild.
        library.put(manifest(1, "recovered")).await.unwrap();
        for text in ["quarter", "度", "board", "budget", "开会", "会"] {
            let found = Filter { text: Some(text.into()), limit: 9, ..Filter::default() };
            assert_eq!(library.catalog().list(&found).await.unwrap().summaries.len(), 1, "{text}");
        }
        library.rebuild(|_, _| ()).await.unwrap();
        assert!(matches!(library.delete(&id).await, Err(LibraryError::Kept)));
        let long = |notes: Notes| Notes { title: "x".repeat(201), ..notes };
        assert!(matches!(library.annotate(&id, long).await, Err(LibraryError::Notes(_))));
        library.annotate(&id, |notes| Notes { keep: false, ..notes }).await.unwrap();
        library.delete(&id).await.unwrap();
        assert!(matches!(library.annotate(&id, |notes| notes).await, Err(LibraryError::NotFound)));
    }

    #[tokio::test]
    async fn what_still_runs_is_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let library = library(dir.path()).await;
        for (n, state) in ["waiting", "recording", "paused", "repairing"].into_iter().enumerate() {
            let entry = library.put(manifest(n as u32, state)).await.unwrap();
            assert!(matches!(library.delete(&entry.id).await, Err(LibraryError::Active(_))), "{state}");
        }
    }
}
