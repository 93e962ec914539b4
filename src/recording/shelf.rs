//! The recordings folder as those see it who list, play and delete: one folder per recording, and a trash beside them.
//! Paths come from parsed ids only. Everything here blocks on the disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use reelay_signaling::RecordingId;

use serde_json::Value;

use super::catalog::{Entry, EntryError, chat_of};
use super::notes::{NOTES, Notes};
use super::storage::Disk;
use super::store;
use super::{captions, hash};

/// The recordings folder.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
}

/// Where a recording's folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the others.
    Shown,
    /// In the trash.
    Trash,
}

/// A folder with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Which recording.
    pub id: RecordingId,
    /// Where it is.
    pub place: Place,
    /// When its manifest was written, or its notes or captions if later.
    pub manifest_mtime_ns: i64,
}

/// Why a manifest on disk cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("the manifest cannot be read")]
    Io(#[from] io::Error),
    /// It says something else than a manifest says.
    #[error("the manifest is damaged")]
    Entry(#[from] EntryError),
    /// It is the manifest of another recording.
    #[error("the manifest belongs to another recording")]
    Other,
}

impl Shelf {
    /// The shelf in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The recordings folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of a recording.
    pub fn folder(&self, id: &RecordingId, place: Place) -> PathBuf {
        match place {
            Place::Shown => self.dir.join(id.as_str()),
            Place::Trash => self.dir.join(TRASH).join(id.as_str()),
        }
    }

    /// All folders that have a manifest, those in the trash too. What is no recording is passed over.
    ///
    /// # Errors
    /// When the recordings folder cannot be read.
    pub fn folders(&self) -> io::Result<Vec<Folder>> {
        let mut found = Vec::new();
        for (dir, place) in [(self.dir.clone(), Place::Shown), (self.dir.join(TRASH), Place::Trash)] {
            let listing = match fs::read_dir(dir) {
                Ok(listing) => listing,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for item in listing.flatten() {
                let Some(id) = item.file_name().to_str().and_then(|name| name.parse::<RecordingId>().ok()) else {
                    continue;
                };
                if let Ok(manifest_mtime_ns) = mtime_ns(&item.path().join(MANIFEST)) {
                    let notes_ns = mtime_ns(&item.path().join(NOTES)).unwrap_or(0);
                    let captions_ns = captions::written_at(&item.path()).map_or(0, ns_of);
                    let manifest_mtime_ns = manifest_mtime_ns.max(notes_ns).max(captions_ns);
                    found.push(Folder { id, place, manifest_mtime_ns });
                }
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// Reads the manifest of a recording, its chat, and what its captions say.
    ///
    /// # Errors
    /// When there is none, or it cannot be understood.
    pub fn read(&self, folder: &Folder) -> Result<Entry, ReadError> {
        let path = self.folder(&folder.id, folder.place);
        let mut manifest: Value =
            serde_json::from_str(&bounded_text(&path.join(MANIFEST), MAX_MANIFEST_BYTES)?).map_err(EntryError::from)?;
        manifest.as_object_mut().into_iter().for_each(|fields| Notes::read(&path).add_to(fields));
        let mut entry = Entry::from_value(manifest)?;
        if entry.id != folder.id {
            return Err(ReadError::Other);
        }
        entry.manifest_mtime_ns = folder.manifest_mtime_ns;
        self.add_words(&mut entry, folder.place);
        Ok(entry)
    }

    /// Adds what was written and said in a recording to its entry, for the search.
    pub fn add_words(&self, entry: &mut Entry, place: Place) {
        entry.chat = Some(chat_of(&self.events(&entry.id, place)));
        entry.said = Some(captions::text_of(&self.folder(&entry.id, place)));
    }

    /// The lines of what happened in a recording; empty when there are none.
    pub fn events(&self, id: &RecordingId, place: Place) -> String {
        bounded_text(&self.folder(id, place).join(EVENTS), MAX_EVENTS_BYTES).unwrap_or_default()
    }

    /// The lines about moments that people marked; empty when there are none.
    pub fn marks(&self, id: &RecordingId) -> String {
        bounded_text(&self.folder(id, Place::Shown).join(MARKS), MAX_EVENTS_BYTES).unwrap_or_default()
    }

    /// Adds a line about a marked moment.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_mark(&self, id: &RecordingId, line: &str) -> io::Result<()> {
        // Not while somebody is erased: the line would be lost.
        let _edit = hash::edit();
        let path = self.folder(id, Place::Shown).join(MARKS);
        // What a crash left of a last line must not take this one with it.
        let mut file = fs::OpenOptions::new().read(true).create(true).append(true).open(path)?;
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        let begin = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{begin}{line}\n").as_bytes())
    }

    /// Puts a recording into the trash; `line` is added to what happened to it.
    ///
    /// # Errors
    /// When the folder cannot be moved.
    pub fn discard(&self, id: &RecordingId, line: &str) -> io::Result<()> {
        fs::create_dir_all(self.dir.join(TRASH))?;
        let folder = self.folder(id, Place::Trash);
        fs::rename(self.folder(id, Place::Shown), &folder)?;
        if let Err(error) = store::append(&Disk, &folder.join(EVENTS), format!("{line}\n").as_bytes()) {
            tracing::warn!(recording = %id, %error, "cannot note that a recording was deleted");
        }
        Ok(())
    }

    /// Takes a recording out of the trash again.
    ///
    /// # Errors
    /// When it is not there or cannot be moved.
    pub fn restore(&self, id: &RecordingId) -> io::Result<()> {
        fs::rename(self.folder(id, Place::Trash), self.folder(id, Place::Shown))
    }

    /// Deletes what is in the trash for good.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn purge(&self, id: &RecordingId) -> io::Result<()> {
        match fs::remove_dir_all(self.folder(id, Place::Trash)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn mtime_ns(path: &Path) -> io::Result<i64> {
    Ok(ns_of(fs::metadata(path)?.modified()?))
}

fn ns_of(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

fn bounded_text(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const TRASH: &str = ".trash";
const MANIFEST: &str = "manifest.json";
const EVENTS: &str = "events.jsonl";
const MARKS: &str = "marks.jsonl";
// A thousand participants who come and go make about 1 MB.
const MAX_MANIFEST_BYTES: u64 = 16 * 1024 * 1024;
const MAX_EVENTS_BYTES: u64 = 16 * 1024 * 1024;
