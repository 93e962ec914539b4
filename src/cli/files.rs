//! What `check` and `repair` share: which files are meant, and how they are spoken of.

use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

/// The files themselves, and for a folder every recording in it and in the folders below.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn below(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            add_folder(path, MAX_DEPTH, &mut files)
                .with_context(|| format!("cannot read the folder {}", path.display()))?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn add_folder(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() && depth > 0 && !name.starts_with('.') {
            add_folder(&path, depth - 1, files)?;
        } else if kind.is_file() && (name.ends_with(".webm") || name.ends_with(".webm.part")) {
            files.push(path);
        }
    }
    Ok(())
}

/// A bar on a terminal for what takes a while; for the rest nothing.
pub(super) fn progress(len: u64) -> ProgressBar {
    if len < WORTH_A_BAR {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// `1:02:03.4`.
pub(super) fn length(ms: u64) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms as f64 / 1000.0 % 60.0);
    match hours {
        0 => format!("{minutes}:{seconds:04.1}"),
        hours => format!("{hours}:{minutes:02}:{seconds:04.1}"),
    }
}

/// `1.2 MB`.
pub(super) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

const MAX_DEPTH: u32 = 8;
const WORTH_A_BAR: u64 = 64 * 1024 * 1024;
