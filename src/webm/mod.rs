//! Bytes of WebM files: encoding elements, reading files back, judging them. Pure: no clock, no file, no thread.
//! Knows the one layout that Reelay writes ([`layout`]); what goes into a file and when is decided in `recording`.

pub mod check;
pub mod codec;
pub mod cues;
pub mod ebml;
pub mod elements;
pub mod front;
pub mod index;
pub mod layout;
pub mod scan;
pub mod tally;

pub use codec::VideoCodec;
pub use elements::{AudioTrack, Header, VideoTrack};

use std::path::{Path, PathBuf};

/// The name that a file has once it is whole: without `.part`.
pub fn final_path(path: &Path) -> PathBuf {
    if is_part(path) { path.with_extension("") } else { path.to_path_buf() }
}

/// The name that a file has while it is written: with `.part`.
pub fn part_path(path: &Path) -> PathBuf {
    if is_part(path) {
        return path.to_path_buf();
    }
    let mut name = path.as_os_str().to_os_string();
    name.push(".part");
    name.into()
}

/// True for the name of a file that is still written, or was when the server ended.
pub fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

#[cfg(test)]
mod golden;
