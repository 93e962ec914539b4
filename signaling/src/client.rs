//! Messages from a client to the server.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::id::{ParticipantId, RoomName, Source};
use crate::model::{Consent, Kind, Role, Target};

/// What a client may say. Every message may carry `ref`, which comes back in an `error` about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ClientMessage {
    /// Enter a room; the first message of a session.
    Join(Join),
    /// Come back after a lost socket; instead of `join`.
    Resume {
        /// From `joined`; single use.
        token: String,
        /// Whether the media connections still stand.
        media: ResumeMedia,
    },
    /// Offer the publishing connection: first, with more m-lines, or with new ICE credentials.
    Publish {
        /// An SDP offer.
        sdp: String,
        /// What each m-line carries.
        tracks: Vec<PublishTrack>,
        /// `new`: the offer is of another connection, which takes the place of the one before.
        #[serde(default, skip_serializing_if = "ResumeMedia::is_kept")]
        media: ResumeMedia,
    },
    /// A trickled ICE candidate; an empty `candidate` ends them.
    Candidate {
        /// Which connection.
        target: Target,
        /// `candidate:…`, or empty.
        candidate: String,
        /// The m-line.
        #[serde(default)]
        mid: Option<String>,
    },
    /// The answer to the server's offer `id`.
    Answer {
        /// Which offer.
        id: u64,
        /// An SDP answer.
        sdp: String,
    },
    /// Ask for an offer with new ICE credentials on the subscribing connection.
    Restart {
        /// `new`: for an offer of a new connection instead.
        #[serde(default, skip_serializing_if = "ResumeMedia::is_kept")]
        media: ResumeMedia,
    },
    /// Which m-lines of the subscribing connection are on screen; the others are not sent.
    Subscribe {
        /// mids.
        want: Vec<String>,
    },
    /// Say that a track was switched off or on.
    Mute {
        /// Which source.
        source: Source,
        /// Which half of it.
        kind: Kind,
        /// Off or on.
        muted: bool,
    },
    /// Start, stop, pause or resume the recording of the room.
    Recording {
        /// What to do.
        action: RecordingAction,
    },
    /// Agree to be recorded, or not.
    Consent {
        /// `agreed` or `declined`.
        answer: Consent,
        /// The version of the words that were shown.
        wording: String,
    },
    /// A line of chat.
    Chat {
        /// Up to 2,000 characters.
        text: String,
    },
    /// What a host may do to others.
    Moderate(Moderation),
    /// Bring a new token before the old one ends; its grants count from now on.
    Renew {
        /// An access token (JWT) for the same room and person.
        token: String,
    },
    /// Leave at once; no resume.
    Leave,
}

/// The first message of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Which room.
    pub room: RoomName,
    /// The name to show.
    #[serde(default)]
    pub name: String,
    /// How.
    #[serde(default)]
    pub role: Role,
    /// A random key of the browser, so that replay knows the person again.
    #[serde(default)]
    pub person: Option<String>,
    /// An access token (JWT), where the server wants one.
    #[serde(default)]
    pub token: Option<String>,
    /// Consent given in the lobby.
    #[serde(default)]
    pub consent: Consent,
    /// The version of the words that were shown for it.
    #[serde(default)]
    pub wording: Option<String>,
}

/// What became of the media connections of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeMedia {
    /// They stand; nothing is renegotiated unless asked.
    #[default]
    Kept,
    /// They are gone (a reload, a connection that failed for good); the server closes its side.
    New,
}

impl ResumeMedia {
    fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

/// What an m-line of a publishing offer carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishTrack {
    /// The m-line.
    pub mid: String,
    /// What it comes from.
    pub source: Source,
    /// Audio or video.
    pub kind: Kind,
}

/// What to do with the recording of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingAction {
    /// Begin.
    Start,
    /// End and close the files.
    Stop,
    /// Cut all files at this instant.
    Pause,
    /// Go on in the same files.
    Resume,
}

/// What a host may do to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Moderation {
    /// Stop a track of somebody until they switch it on again.
    Mute {
        /// Whose.
        participant: ParticipantId,
        /// Which source.
        source: Source,
        /// Which half of it.
        kind: Kind,
    },
    /// Put somebody out of the room.
    Remove {
        /// Whom.
        participant: ParticipantId,
    },
    /// End the call for all.
    End,
}

/// Why a text is not a client message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// `bad-request`, `unknown-message` or `bad-room-name`.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
    /// The client's own mark on the message, if it could be read.
    pub reference: Option<String>,
}

/// Reads one message and the `ref` on it.
///
/// # Errors
/// `unknown-message` when the type is not known, `bad-request` for everything else that does not fit.
pub fn parse(text: &str) -> Result<(ClientMessage, Option<String>), ParseError> {
    let fail = |code, message: String, reference| ParseError { code, message, reference };
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| fail(ErrorCode::BadRequest, format!("not JSON: {error}"), None))?;
    let reference = value.get("ref").and_then(|r| r.as_str()).map(str::to_owned);
    let Some(kind) = value.get("type").and_then(|t| t.as_str()).map(str::to_owned) else {
        return Err(fail(ErrorCode::BadRequest, "a message is an object with a 'type'".into(), reference));
    };
    if !TYPES.contains(&kind.as_str()) {
        let shown: String = kind.chars().take(40).collect();
        return Err(fail(ErrorCode::UnknownMessage, format!("unknown message type '{shown}'"), reference));
    }
    let room_is_bad = kind == "join"
        && value.get("room").and_then(|r| r.as_str()).is_some_and(|room| room.parse::<RoomName>().is_err());
    match serde_json::from_value(value) {
        Ok(message) => Ok((message, reference)),
        Err(error) if room_is_bad => Err(fail(ErrorCode::BadRoomName, error.to_string(), reference)),
        Err(error) => Err(fail(ErrorCode::BadRequest, format!("'{kind}': {error}"), reference)),
    }
}

const TYPES: &[&str] = &[
    "join",
    "resume",
    "publish",
    "candidate",
    "answer",
    "restart",
    "subscribe",
    "mute",
    "recording",
    "consent",
    "chat",
    "moderate",
    "renew",
    "leave",
];
