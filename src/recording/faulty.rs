//! A disk in memory for tests: logs every operation, can be cut at any byte of any write, and fails on demand.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::storage::{Storage, StorageFile};

/// One operation that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Create(PathBuf),
    Write { path: PathBuf, offset: u64, data: Vec<u8> },
    SetLen { path: PathBuf, len: u64 },
    SyncData(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
}

/// What fails from now on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Bytes that all files together may take.
    pub space: Option<u64>,
    /// Writes, after which each one fails with EIO.
    pub writes_left: Option<u64>,
    /// Most bytes that one write takes.
    pub longest_write: Option<usize>,
    /// Writes and syncs wait until this is over.
    pub stall: bool,
    /// Syncs wait until this is over, writes do not.
    pub stall_sync: bool,
    pub sync: bool,
    pub rename: bool,
    /// Writes to files of such names fail with EIO.
    pub refused: Option<&'static str>,
    /// Everything fails as in a folder that was made read-only.
    pub read_only: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub dirs: BTreeSet<PathBuf>,
    pub log: Vec<Op>,
    pub faults: Faults,
}

/// The disk; clones share it.
#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(Arc<(Mutex<State>, Condvar)>);

impl FaultyDisk {
    /// A disk with these files.
    pub fn with(files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        Self(Arc::new((Mutex::new(State { files, ..State::default() }), Condvar::new())))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// What fails from now on; who waits for a stall to be over is woken.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
        self.0.1.notify_all();
    }

    fn wait_while(&self, is_stalled: impl Fn(&Faults) -> bool) {
        drop(self.0.1.wait_while(self.state(), |state| is_stalled(&state.faults)).unwrap());
    }

    /// A copy of all files.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.state().files.clone()
    }

    /// A copy of the log.
    pub fn log(&self) -> Vec<Op> {
        self.state().log.clone()
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    pub fn bytes(&self, path: &str) -> Vec<u8> {
        self.state().files.get(Path::new(path)).unwrap_or_else(|| panic!("no file {path}")).clone()
    }

    fn file_op<T>(&self, path: &Path, op: impl FnOnce(&mut State, &Path) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        if state.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        op(&mut state, path)
    }
}

/// The files after the first operations of a log; of the last of them only `last_bytes` bytes, if it is a write.
pub(crate) fn replay(log: &[Op], last_bytes: usize) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (index, op) in log.iter().enumerate() {
        match op {
            Op::Write { path, offset, data } if index + 1 == log.len() => {
                put(&mut files, path, *offset, &data[..last_bytes.min(data.len())]);
            }
            op => apply(&mut files, op),
        }
    }
    files
}

/// Carries out one operation.
pub(crate) fn apply(files: &mut BTreeMap<PathBuf, Vec<u8>>, op: &Op) {
    match op {
        Op::Create(path) => drop(files.insert(path.clone(), Vec::new())),
        Op::Write { path, offset, data } => put(files, path, *offset, data),
        Op::SetLen { path, len } => files.entry(path.clone()).or_default().resize(*len as usize, 0),
        Op::Rename(from, to) => {
            if let Some(bytes) = files.remove(from) {
                files.insert(to.clone(), bytes);
            }
        }
        Op::Remove(path) => drop(files.remove(path)),
        Op::SyncData(_) | Op::SyncDir(_) => {}
    }
}

/// Writes into a file, with zeros up to there if it is shorter.
pub(crate) fn put(files: &mut BTreeMap<PathBuf, Vec<u8>>, path: &Path, offset: u64, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let file = files.entry(path.to_path_buf()).or_default();
    let end = offset as usize + data.len();
    file.resize(file.len().max(end), 0);
    file[offset as usize..end].copy_from_slice(data);
}

impl Storage for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.file_op(path, |state, path| {
            if state.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.insert(path.to_path_buf(), Vec::new());
            state.log.push(Op::Create(path.to_path_buf()));
            Ok(())
        })?;
        Ok(Arc::new(FaultyFile { disk: self.clone(), path: path.to_path_buf() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        if !self.state().files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(FaultyFile { disk: self.clone(), path: path.to_path_buf() }))
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.file_op(dir, |state, dir| {
            state.dirs.insert(dir.to_path_buf());
            Ok(())
        })
    }

    fn exists(&self, path: &Path) -> bool {
        let state = self.state();
        state.files.contains_key(path) || state.dirs.contains(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.file_op(from, |state, from| {
            if state.faults.rename {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            let op = Op::Rename(from.to_path_buf(), to.to_path_buf());
            apply(&mut state.files, &op);
            state.log.push(op);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file_op(path, |state, path| {
            if state.files.remove(path).is_some() {
                state.log.push(Op::Remove(path.to_path_buf()));
            }
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.file_op(dir, |state, dir| {
            state.log.push(Op::SyncDir(dir.to_path_buf()));
            Ok(())
        })
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
}

impl StorageFile for FaultyFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.disk.wait_while(|faults| faults.stall);
        self.disk.file_op(&self.path, |state, path| {
            if state.faults.refused.is_some_and(|name| path.to_string_lossy().contains(name)) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            match &mut state.faults.writes_left {
                Some(0) => return Err(io::Error::from_raw_os_error(EIO)),
                Some(left) => *left -= 1,
                None => {}
            }
            let mut data = &data[..data.len().min(state.faults.longest_write.unwrap_or(usize::MAX))];
            if let Some(space) = state.faults.space {
                let used: u64 = state.files.values().map(|file| file.len() as u64).sum();
                let len = state.files.get(path).map_or(0, |file| file.len() as u64);
                let fits = (len + space.saturating_sub(used)).saturating_sub(offset);
                data = &data[..data.len().min(fits as usize)];
                if data.is_empty() {
                    return Err(io::Error::from_raw_os_error(ENOSPC));
                }
            }
            put(&mut state.files, path, offset, data);
            state.log.push(Op::Write { path: path.to_path_buf(), offset, data: data.to_vec() });
            Ok(data.len())
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let file = state.files.get(&self.path).ok_or(io::ErrorKind::NotFound)?;
        let rest = file.get(offset as usize..).unwrap_or(&[]);
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().files.get(&self.path).map_or(0, |file| file.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.file_op(&self.path, |state, path| {
            let op = Op::SetLen { path: path.to_path_buf(), len };
            apply(&mut state.files, &op);
            state.log.push(op);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.wait_while(|faults| faults.stall || faults.stall_sync);
        self.disk.file_op(&self.path, |state, path| {
            if state.faults.sync {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            state.log.push(Op::SyncData(path.to_path_buf()));
            Ok(())
        })
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
