//! The recordings folder as the recorder sees it: whose it is, what a recording's files are called, how full the disk is.
//! All names are built from ids.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use reelay_signaling::RecordingId;

use super::api::StartError;
use super::manifest::{MAX_MANIFEST_BYTES, Manifest, ManifestError, merge, parse_manifest};
use super::storage::{Storage, write_all_at};

/// The recordings folder, held by this process.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// Locked as long as it is open.
    lock: File,
    /// What lies in its place meanwhile, locked too.
    over: Option<File>,
}

/// Why a manifest on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk's.
    #[error("the manifest cannot be read")]
    Disk(#[from] io::Error),
    /// It is none.
    #[error("the manifest is damaged")]
    Damaged(#[from] ManifestError),
    /// It is that of another folder.
    #[error("the manifest belongs to another recording")]
    Other,
}

impl ReadError {
    /// True when there is no manifest, or nothing of one; not when it cannot be read now, or is that of a later version.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Disk(error) => error.kind() == io::ErrorKind::NotFound,
            Self::Damaged(error) => matches!(error, ManifestError::Syntax(_)),
            Self::Other => false,
        }
    }
}

impl Store {
    /// Makes the folder if need be, and takes it for this process.
    ///
    /// # Errors
    /// `Locked` when another process has it, or what the disk says.
    pub fn open(dir: &Path) -> Result<Self, StartError> {
        fs::create_dir_all(dir).map_err(|source| StartError::Folder { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), lock: locked(dir)?, over: None })
    }

    /// Takes what lies in the folder's place now, if that is another one: a disk that was mounted over it, or a new folder.
    ///
    /// # Errors
    /// `Locked` when another process has that one.
    pub fn hold(&mut self) -> Result<(), StartError> {
        let Ok(now) = fs::metadata(&self.dir) else { return Ok(()) };
        let is_now = |held: &File| held.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (now.dev(), now.ino()));
        if is_now(&self.lock) {
            self.over = None;
        } else if !self.over.as_ref().is_some_and(is_now) {
            self.over = None;
            // One that nobody can write to is not held: it could not be taken away.
            let is_fixed = |disk: rustix::fs::StatVfs| disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
            if rustix::fs::statvfs(&self.dir).is_ok_and(is_fixed) {
                return Ok(());
            }
            match locked(&self.dir) {
                Ok(lock) => self.over = Some(lock),
                // Some network file systems number their folders anew: it is ours already.
                Err(_) if self.lock.metadata().is_ok_and(|held| held.dev() == now.dev()) => {}
                Err(StartError::Locked(dir)) => return Err(StartError::Locked(dir)),
                Err(error) => tracing::warn!(%error, "cannot lock the recordings folder"),
            }
        }
        Ok(())
    }

    /// The folder of a recording.
    pub fn folder(&self, id: &RecordingId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All recordings that have a folder, oldest first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn recordings(&self) -> io::Result<Vec<RecordingId>> {
        let mut ids: Vec<RecordingId> =
            fs::read_dir(&self.dir)?.flatten().filter_map(|item| item.file_name().to_str()?.parse().ok()).collect();
        ids.sort();
        Ok(ids)
    }
}

fn locked(dir: &Path) -> Result<File, StartError> {
    let fail = |source| StartError::Folder { path: dir.to_owned(), source };
    let lock = File::open(dir).map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked(dir.to_owned())),
        // Some network file systems have no locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(lock),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// Reads the manifest of a recording's folder.
///
/// # Errors
/// When there is none of this recording.
pub fn read_manifest(folder: &Path) -> Result<Manifest, ReadError> {
    let manifest = parse_manifest(&read_bounded(&folder.join(MANIFEST))?)?;
    let is_of_folder = folder.file_name().is_some_and(|name| name == manifest.id.as_str());
    if is_of_folder { Ok(manifest) } else { Err(ReadError::Other) }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_MANIFEST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How sure a write has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sureness {
    /// It survives the end of the process.
    Process,
    /// It survives a power cut.
    Power,
}

/// Replaces the manifest at once: readers see the old one or the new one.
///
/// # Errors
/// What the disk says; the old one stays then.
pub fn write_manifest(storage: &dyn Storage, folder: &Path, manifest: &Manifest, sureness: Sureness) -> io::Result<()> {
    replace(storage, folder, &manifest.to_json(), sureness)
}

/// The same for a manifest that others may have written to: what only they know stays in it.
///
/// # Errors
/// What the disk says; the old one stays then.
pub fn update_manifest(storage: &dyn Storage, folder: &Path, manifest: &Manifest) -> io::Result<()> {
    let on_disk = read_bounded(&folder.join(MANIFEST)).unwrap_or_default();
    replace(storage, folder, &merge(&on_disk, manifest), Sureness::Power)
}

fn replace(storage: &dyn Storage, folder: &Path, text: &[u8], sureness: Sureness) -> io::Result<()> {
    let draft = folder.join(DRAFT);
    storage.remove(&draft)?;
    let file = storage.create(&draft)?;
    write_all_at(&*file, 0, text)?;
    if sureness == Sureness::Power {
        file.sync_data()?;
    }
    storage.rename(&draft, &folder.join(MANIFEST))?;
    if sureness == Sureness::Power {
        storage.sync_dir(folder)?;
    }
    Ok(())
}

/// Appends to a file of a recording: all of it, or nothing.
///
/// # Errors
/// What the disk says.
pub fn append(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = match storage.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create(path)?,
        file => file?,
    };
    let end = file.size()?;
    let result = write_all_at(&*file, end, bytes);
    if result.is_err() {
        // What follows later must not stand behind half a line.
        let _ = file.set_len(end);
    }
    result
}

/// Bytes that this process may still write to the disk that holds `dir`.
///
/// # Errors
/// What the disk says.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// How many hours of one participant's camera (1 Mbit/s, 48 kbit/s sound) fit into this many bytes.
pub fn hours(bytes: u64) -> u64 {
    bytes / (131_000 * 3600)
}

/// The name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// The name of the list of events.
pub const EVENTS: &str = "events.jsonl";
const DRAFT: &str = "manifest.json.new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_server_on_one_folder_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Store::open(dir.path()).expect("it is free");
        assert!(matches!(Store::open(dir.path()), Err(StartError::Locked(_))));
        drop(first);
        Store::open(dir.path()).expect("it is free again");
    }

    #[test]
    fn folder_in_the_place_of_the_first_one_is_held_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let (place, aside) = (dir.path().join("recordings"), dir.path().join("aside"));
        let mut first = Store::open(&place).expect("it is free");
        first.hold().expect("it is held");
        fs::rename(&place, &aside).expect("it moves");
        first.hold().expect("nothing is there to be held");
        fs::create_dir(&place).expect("a new one");
        first.hold().expect("it is free");
        for held in [&place, &aside] {
            assert!(matches!(Store::open(held), Err(StartError::Locked(_))));
        }
        fs::remove_dir(&place).expect("it goes");
        fs::rename(&aside, &place).expect("it is back");
        first.hold().expect("it is held");
        assert!(first.over.is_none() && matches!(Store::open(&place), Err(StartError::Locked(_))));
    }

    #[test]
    fn disk_says_how_much_is_free() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(free_bytes(dir.path()).expect("a disk") > 0);
        assert!(free_bytes(Path::new("/no/such/folder")).is_err());
    }
}
