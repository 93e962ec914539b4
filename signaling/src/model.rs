//! The things that messages speak of: people, tracks, rights, the state of a recording.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ParticipantId, RecordingId, Source};

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
        })
    }
}

/// Which of a participant's two connections a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The connection that the client offers and sends on.
    Publish,
    /// The connection that the server offers and the client receives on.
    Subscribe,
}

/// How somebody is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// In the roster; may publish.
    #[default]
    Join,
    /// Counted, not in the roster; only receives.
    Watch,
}

/// Whether a person agreed to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Nobody asked yet.
    #[default]
    NotAsked,
    /// The person agreed.
    Agreed,
    /// The person declined or withdrew; nothing of theirs is on disk from then on.
    Declined,
}

/// One flow of a participant as the others see it. A track is listed from its first packet on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackState {
    /// What it comes from.
    pub source: Source,
    /// Audio or video.
    pub kind: Kind,
    /// True while its owner has switched it off.
    pub muted: bool,
}

/// One person in the roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// The id of this stay.
    pub id: ParticipantId,
    /// The name as its owner typed it: show it as text, never trust it.
    pub name: String,
    /// True for who may mute, remove and end the call for all.
    pub host: bool,
    /// Whether this person agreed to be recorded.
    pub consent: Consent,
    /// True while this person's flows go into the recording that runs.
    pub recorded: bool,
    /// The connection is lost, and the place is kept for a while.
    #[serde(default)]
    pub away: bool,
    /// Live tracks.
    pub tracks: Vec<TrackState>,
}

/// What a caller may do in this room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Join the room.
    pub join: bool,
    /// Publish media.
    pub publish: bool,
    /// Receive media.
    pub subscribe: bool,
    /// Watch without joining.
    pub watch: bool,
    /// Start, stop, pause and resume the recording.
    pub record: bool,
    /// Replay recordings of the room.
    pub replay: bool,
    /// Download recordings of the room.
    pub download: bool,
    /// Delete recordings of the room.
    pub delete: bool,
    /// Mute and remove others, end the call for all.
    pub moderate: bool,
    /// Everything, in every room.
    pub admin: bool,
}

/// What the recording of a room does at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingState {
    /// Nothing is recorded.
    #[default]
    Off,
    /// Wanted; no block is on disk yet.
    Waiting,
    /// Blocks are on disk and more come.
    Recording,
    /// Stopped for a while by a person.
    Paused,
    /// Wanted, and the disk does not take it: `reason` says why, `since_ms` since when.
    Interrupted,
}

/// The recording of a room as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoomRecording {
    /// What it does.
    pub state: RecordingState,
    /// The recording that runs, or the one that just ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<RecordingId>,
    /// Milliseconds that are on disk.
    pub duration_ms: u64,
    /// How far the disk is behind the call, in milliseconds.
    #[serde(default)]
    pub behind_ms: u64,
    /// Who started it, if a person did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it is interrupted: `disk-full`, `io-error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True when this room asks everybody for consent first.
    pub consent_required: bool,
}

/// What happened to a recording: to the people in the room, to listeners of the API, and a line in `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingEvent {
    /// What.
    pub event: RecordingHappening,
    /// To which recording.
    pub id: RecordingId,
    /// When, in recorded time.
    pub t_ms: u64,
    /// When, RFC 3339 UTC.
    pub at: String,
    /// Who did it, if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why: of a gap its cause, of an interruption what the disk does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whose recording has the gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<ParticipantId>,
    /// Which of their sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Which half of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where the gap begins, in recorded time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<u64>,
    /// How long the gap is, or the interruption was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasted_ms: Option<u64>,
    /// How the recording ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RecordingStatus>,
}

/// Kinds of [`RecordingEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingHappening {
    /// It began.
    Started,
    /// A file has a hole.
    Gap,
    /// It is paused.
    Paused,
    /// It goes on.
    Resumed,
    /// The disk refuses.
    Interrupted,
    /// The disk takes it again.
    DiskBack,
    /// It was made whole after a crash.
    Repaired,
    /// Somebody stopped it.
    Stopped,
    /// Its files are closed.
    Finished,
    /// It was put into the trash.
    Deleted,
}

/// States of a recording in the manifest and the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingStatus {
    /// Wanted, no block yet.
    Waiting,
    /// Growing.
    Recording,
    /// Paused by a person.
    Paused,
    /// Being repaired after a crash.
    Repairing,
    /// Closed in order.
    Complete,
    /// Repaired after a crash.
    Recovered,
    /// Ended early by the disk.
    Interrupted,
    /// Nothing usable.
    Failed,
}

/// One slot of a server's offer: which m-line carries whose flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeTrack {
    /// The m-line.
    pub mid: String,
    /// Who publishes it.
    pub participant: ParticipantId,
    /// What it comes from.
    pub source: Source,
    /// Audio or video.
    pub kind: Kind,
}

/// One line of chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatLine {
    /// Who wrote it.
    pub participant: ParticipantId,
    /// The writer's name at that time.
    pub name: String,
    /// The text: show it as text.
    pub text: String,
    /// When, RFC 3339 UTC.
    pub at: String,
}

/// One entry of `RTCConfiguration.iceServers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}
