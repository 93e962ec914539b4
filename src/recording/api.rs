//! What the rest of the server and the recorder say to each other: plain values.

use std::path::PathBuf;
use std::time::Duration;

use reelay_signaling::{
    Consent, ErrorCode, LeaveReason, ParticipantId, RecordingId, RoomName, RoomRecording, Source, TrackId,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{CaptureOptions, Manifest};
use crate::media::{Codec, RoomKey, Tap, TapFrom};

/// When a recording begins by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartPolicy {
    /// With the first published track; after a stop by hand, when somebody starts.
    #[default]
    Auto,
    /// When somebody starts.
    Manual,
    /// Never; starting is refused with `recording-off`.
    Off,
}

/// What goes into the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tracks {
    /// Audio and video.
    #[default]
    Av,
    /// Audio alone.
    Audio,
}

/// Whether people are told that they are recorded, or asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentPolicy {
    /// They are told, and may say "stop recording me".
    #[default]
    Notice,
    /// Nothing of a person is written before they agreed.
    Required,
}

/// The settings of the recorder.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that holds one folder per recording. Made when it is missing.
    pub dir: PathBuf,
    /// When a recording begins by itself.
    pub start: StartPolicy,
    /// What goes into the files.
    pub tracks: Tracks,
    /// Whether people are asked.
    pub consent: ConsentPolicy,
    /// How long an empty room keeps its recording open.
    pub linger: Duration,
    /// How long a hole in the packets is waited for.
    pub reorder_wait: Duration,
    /// New recordings are refused, and running ones interrupted, below this much free space.
    pub min_free_bytes: u64,
    /// Whether all that is received is kept, to be run through the recorder again.
    pub capture: Option<CaptureOptions>,
}

impl Options {
    /// The defaults, with recordings in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            start: StartPolicy::default(),
            tracks: Tracks::default(),
            consent: ConsentPolicy::default(),
            linger: Duration::from_secs(60),
            reorder_wait: Duration::from_secs(2),
            min_free_bytes: 64 * 1024 * 1024,
            capture: None,
        }
    }
}

/// Why the recorder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be made or used.
    #[error("cannot use the recordings folder {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another server records into the folder.
    #[error("another server records into {0}")]
    Locked(PathBuf),
    /// A thread could not be started.
    #[error("cannot start the recorder thread")]
    Thread(#[source] std::io::Error),
}

/// The answer to a command of a person.
pub type Reply = oneshot::Sender<Result<Accepted, ErrorCode>>;

/// What a command led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The recording as it is now.
    pub recording: RoomRecording,
    /// True when this command made it.
    pub is_new: bool,
}

/// What the recorder is told.
#[derive(Debug)]
pub enum Input {
    /// A room begins its life.
    RoomOpened {
        /// The room.
        room: RoomKey,
        /// Its name.
        name: RoomName,
    },
    /// Somebody entered who may publish.
    Joined {
        /// The room.
        room: RoomKey,
        /// Who.
        participant: ParticipantId,
        /// Stable for one person within a recording.
        person: String,
        /// The name to show.
        name: String,
        /// Given in the lobby or by a token.
        consent: Consent,
        /// The version of the words that were shown for it.
        wording: Option<String>,
    },
    /// Somebody is gone for good; lost sockets that may resume are still there.
    Left {
        /// The room.
        room: RoomKey,
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
    /// What a source may send by its SDP. Without it a camera is expected to send both, a screen only its picture.
    Declared {
        /// The room.
        room: RoomKey,
        /// Who.
        participant: ParticipantId,
        /// From what.
        source: Source,
        /// Sound was negotiated.
        audio: bool,
        /// A picture was negotiated.
        video: bool,
    },
    /// The first packet of a track arrived (again).
    TrackStarted {
        /// The room.
        room: RoomKey,
        /// Which.
        track: TrackId,
        /// What it is.
        codec: Codec,
        /// Audio channels by the SDP.
        channels: u8,
    },
    /// A track ended.
    TrackEnded {
        /// The room.
        room: RoomKey,
        /// Which.
        track: TrackId,
    },
    /// A track was switched off or on by its owner or a host.
    Muted {
        /// The room.
        room: RoomKey,
        /// Which.
        track: TrackId,
        /// Off or on.
        muted: bool,
    },
    /// Somebody agreed to be recorded, or declined or withdrew.
    Consent {
        /// The room.
        room: RoomKey,
        /// Who.
        participant: ParticipantId,
        /// The answer.
        consent: Consent,
        /// The version of the words that were shown.
        wording: String,
    },
    /// A line of chat.
    Chat {
        /// The room.
        room: RoomKey,
        /// Who wrote it.
        participant: ParticipantId,
        /// The writer's name.
        name: String,
        /// The text.
        text: String,
        /// When, RFC 3339 UTC.
        at: String,
    },
    /// Who speaks, loudest first.
    Speaking {
        /// The room.
        room: RoomKey,
        /// Who.
        participants: Vec<ParticipantId>,
    },
    /// Begin to record.
    Start {
        /// The room.
        room: RoomKey,
        /// The name of who asked.
        by: Option<String>,
        /// Gets the answer.
        reply: Option<Reply>,
    },
    /// Stop, and stay stopped until somebody starts.
    Stop {
        /// The room.
        room: RoomKey,
        /// The name of who asked.
        by: Option<String>,
        /// Gets the answer.
        reply: Option<Reply>,
    },
    /// Cut all files at this instant.
    Pause {
        /// The room.
        room: RoomKey,
        /// The name of who asked.
        by: Option<String>,
        /// Gets the answer.
        reply: Option<Reply>,
    },
    /// Go on in the same files.
    Resume {
        /// The room.
        room: RoomKey,
        /// The name of who asked.
        by: Option<String>,
        /// Gets the answer.
        reply: Option<Reply>,
    },
    /// The room's life is over. Unless somebody ended the call, its recording stays open for `linger`, and goes on if a
    /// room of that name opens again.
    RoomClosed {
        /// The room.
        room: RoomKey,
        /// True when the call was ended for all: the recording is closed at once.
        ended: bool,
    },
    /// Close every recording; `done` gets what was closed.
    CloseAll {
        /// Gets the manifests.
        done: oneshot::Sender<Vec<Manifest>>,
    },
}

/// What the recorder tells.
#[derive(Debug)]
pub enum Update {
    /// The recording of a room changed, or another second of it is on disk.
    Room {
        /// The room.
        room: RoomKey,
        /// As it is now.
        recording: RoomRecording,
        /// Whose flows go into it.
        recorded: Vec<ParticipantId>,
    },
    /// Attach a tap.
    Tap {
        /// The room.
        room: RoomKey,
        /// To which track.
        track: TrackId,
        /// Where its packets go.
        tap: Tap,
        /// Where in the track it begins.
        from: TapFrom,
    },
    /// Take the tap off.
    Untap {
        /// The room.
        room: RoomKey,
        /// From which track.
        track: TrackId,
    },
    /// Ask the publisher for a keyframe.
    Keyframe {
        /// The room.
        room: RoomKey,
        /// Of which track.
        track: TrackId,
    },
    /// Ask those who have not answered yet for their consent.
    ConsentWanted {
        /// The room.
        room: RoomKey,
        /// The name of who started the recording, if a person did.
        by: Option<String>,
    },
    /// A recording was opened, changed or closed.
    Manifest(Manifest),
    /// A line was written to a recording's `events.jsonl`.
    Event {
        /// The recording.
        recording: RecordingId,
        /// The room it is of.
        room: RoomName,
        /// The line, a JSON object without the line feed.
        line: String,
    },
}
