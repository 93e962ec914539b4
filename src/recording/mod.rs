//! Recording: from the items of a tap to whole WebM files, and the life of a recording from start to stop.
//! Knows rooms only as keys and people only as ids; never makes a publisher wait.

pub mod captions;
pub mod catalog;
pub mod clip;
pub mod clusters;
pub mod export;
pub mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod intake;
pub mod library;
pub mod notes;
pub mod repair;
pub mod retention;
pub mod shelf;
pub mod splice;
pub mod storage;
pub mod trial;

mod api;
mod black;
mod capture;
mod clock;
mod cluster;
mod cuts;
mod erase;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod faulty;
mod feed;
mod finish;
mod hash;
mod keeper;
mod keyframes;
mod lane;
pub mod levels;
mod life;
mod manifest;
mod parallel;
mod recorder;
mod recover;
mod report;
mod segment;
#[cfg(test)]
mod segment_tests;
mod session;
mod sidecar;
mod store;
mod timeline;
mod watch;

pub use api::{Accepted, ConsentPolicy, Input, Options, Reply, StartError, StartPolicy, Tracks, Update};
pub use capture::CaptureOptions;
pub use events::WallClock;
pub use manifest::{
    AudioInfo, Gap, Manifest, ManifestError, Pause, Person, SegmentEntry, VideoInfo, file_name, parse_file_name,
    parse_manifest,
};
pub use recorder::{Recorder, RecorderThread, ReplayError, replay};
pub use report::{Report, Step};
pub use store::{free_bytes, hours};
