//! Movies and sound files of a finished recording, made by `ffmpeg` where it is installed: one job after the other, never
//! in the way of calls. The server itself decodes nothing.

mod graph;
mod jobs;
mod otio;
mod story;

pub use jobs::{Finished, Job, JobError, JobState, Jobs};
pub use story::{Layout, Story};

/// What is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One MP4 with everybody in it.
    Movie(Layout),
    /// For editors: sound and picture of each person, all of one length from 0, the mixed sound, and a timeline, as ZIP.
    Editor,
}
