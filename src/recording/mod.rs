//! Recording: from the items of a tap to whole WebM files, and the life of a recording from start to stop.
//! Knows rooms only as keys and people only as ids; never makes a publisher wait.

pub mod catalog;
pub mod clusters;
pub mod file;
pub mod library;
pub mod repair;
pub mod shelf;
pub mod storage;

mod api;
mod cluster;
#[cfg(test)]
pub(crate) mod faulty;
mod finish;
mod manifest;
#[cfg(test)]
mod segment_tests;
mod sidecar;

pub use api::{Accepted, ConsentPolicy, Input, Options, Reply, StartError, StartPolicy, Tracks, Update};
pub use manifest::{
    AudioInfo, Gap, Manifest, ManifestError, Pause, Person, SegmentEntry, VideoInfo, file_name, parse_file_name,
    parse_manifest,
};
