//! The disk as a segment file sees it: positioned reads and writes, and nothing else. A trait, so that tests can log every
//! write, tear it, fill the disk or let it fail.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// A folder tree.
pub trait Storage: Send + Sync {
    /// Makes a file that must not exist yet, for reading and writing, and locks it.
    ///
    /// # Errors
    /// `AlreadyExists`, or whatever the disk says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file for reading and writing, and locks it.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else has it open for writing, or whatever the disk says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Makes a folder, and those that it is in. One that is there already is no error.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// True if the file exists.
    fn exists(&self, path: &Path) -> bool;

    /// True if `path` leads to a file on the disk that this open one is on.
    fn leads_to(&self, path: &Path, _file: &dyn StorageFile) -> bool {
        self.exists(path)
    }

    /// Renames a file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; none there is no error.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes new, renamed and removed names of a folder durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. It may be made durable by one thread while another writes.
pub trait StorageFile: Send + Sync {
    /// Writes some of `data` at `offset` and tells how many bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<usize>;

    /// Reads some bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length of the file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Which disk it is on.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn device(&self) -> io::Result<u64> {
        Ok(0)
    }

    /// Makes what was written durable (`fdatasync`).
    ///
    /// # Errors
    /// Whatever the disk says. What was not durable before may then be lost.
    fn sync_data(&self) -> io::Result<()>;
}

/// Writes all of `data`, however many short writes that takes.
///
/// # Errors
/// The first error; an unknown part of `data` is then written.
pub fn write_all_at(file: &dyn StorageFile, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match file.write_at(offset, data) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                data = &data[written.min(data.len())..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` as far as the file goes and tells how far.
///
/// # Errors
/// The first error.
pub fn read_full_at(file: &dyn StorageFile, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(offset + filled as u64, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What went wrong with the disk, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No space (or quota) left: free some.
    #[error("the disk is full")]
    Full(#[source] io::Error),
    /// The folder is read-only, gone, or not ours to write to.
    #[error("the recordings folder cannot be written")]
    Unwritable(#[source] io::Error),
    /// Another process has the file open.
    #[error("the file is in use by another process")]
    Busy,
    /// The disk failed.
    #[error("the disk failed")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, WouldBlock};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::Full(error),
            NotFound | PermissionDenied | ReadOnlyFilesystem => Self::Unwritable(error),
            WouldBlock => Self::Busy,
            _ => Self::Failed(error),
        }
    }
}

impl StorageError {
    /// The word for manifests, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Full(_) => "disk-full",
            Self::Unwritable(_) | Self::Busy | Self::Failed(_) => "io-error",
        }
    }
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        locked(OpenOptions::new().read(true).write(true).create_new(true).open(path)?)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        // A repair reads it from front to back. A hint: without it that takes longer, no more.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        locked(file)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn leads_to(&self, path: &Path, file: &dyn StorageFile) -> bool {
        // Not by inodes: some network file systems give a file another one whenever they are asked.
        path.symlink_metadata().is_ok_and(|there| file.device().is_ok_and(|device| device == there.dev()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// The lock keeps a repair by hand away from a file that a server writes.
fn locked(file: File) -> io::Result<Arc<dyn StorageFile>> {
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(DiskFile(file))),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // Some network file systems have no locks; the lock on the folder still holds.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Arc::new(DiskFile(file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

struct DiskFile(File);

impl StorageFile for DiskFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.0.write_at(data, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn device(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.dev())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
