//! Messages from the server to a client.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::id::{ParticipantId, RoomName, Source};
use crate::model::{
    ChatLine, Grants, IceServer, Kind, Participant, RecordingEvent, Role, RoomRecording, SubscribeTrack, Target,
};

/// What the server may say. A client ignores types that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerMessage {
    /// The answer to `join` and `resume`: the whole state of the room.
    Joined(Box<Joined>),
    /// The answer to `publish`.
    Published {
        /// An SDP answer.
        sdp: String,
        /// The `ref` of the offer it answers.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// An offer for the subscribing connection.
    Offer {
        /// To be named in the answer.
        id: u64,
        /// An SDP offer.
        sdp: String,
        /// Whose flow each live m-line carries.
        tracks: Vec<SubscribeTrack>,
    },
    /// A trickled ICE candidate of the server.
    Candidate {
        /// Which connection.
        target: Target,
        /// `candidate:…`, or empty at the end.
        candidate: String,
        /// The m-line.
        mid: Option<String>,
    },
    /// Somebody came.
    ParticipantJoined {
        /// The newcomer.
        participant: Participant,
    },
    /// Tracks, mute, consent or host changed.
    ParticipantUpdated {
        /// As it is now.
        participant: Participant,
    },
    /// Somebody went.
    ParticipantLeft {
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
    /// Who speaks now, loudest first; sent when it changes.
    Speaking {
        /// Ids.
        participants: Vec<ParticipantId>,
    },
    /// How many watch; sent when it changes.
    Watchers {
        /// How many.
        count: u32,
    },
    /// The recording changed, or another second of it is on disk.
    Recording(RoomRecording),
    /// Something happened to a recording of this room.
    RecordingEvent(RecordingEvent),
    /// Somebody wants to record, and you have not agreed yet.
    ConsentRequested {
        /// The name of who started it, if a person did.
        by: Option<String>,
    },
    /// A line of chat, also one's own.
    Chat(ChatLine),
    /// A host switched off a track of yours.
    MuteRequested {
        /// Which source.
        source: Source,
        /// Which half of it.
        kind: Kind,
        /// The host's name.
        by: String,
    },
    /// The token ends soon, and the session with it unless `renew` brings another one.
    Expiring {
        /// Milliseconds left.
        in_ms: u64,
    },
    /// The answer to `renew`.
    Renewed {
        /// What you may do now.
        grants: Grants,
        /// Milliseconds until the new token ends; never on an open server.
        in_ms: Option<u64>,
    },
    /// The session is over; the socket closes after it.
    Closed {
        /// Why.
        reason: ClosedReason,
        /// Who did it, if a person did.
        by: Option<String>,
    },
    /// A message was refused, or something went wrong.
    Error {
        /// A stable code.
        code: ErrorCode,
        /// One sentence for people.
        message: String,
        /// The `ref` of the message it is about.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}

/// The state of the room for somebody who just came, or came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The room, as it is written everywhere.
    pub room: RoomName,
    /// Your own id.
    pub participant: ParticipantId,
    /// How you are in the room.
    pub role: Role,
    /// What you may do.
    pub grants: Grants,
    /// True after `resume`.
    pub resumed: bool,
    /// For `resume`; single use, a new one comes with each `joined`.
    pub resume: String,
    /// Everybody in the roster, you included unless you watch.
    pub participants: Vec<Participant>,
    /// What the recording does.
    pub recording: RoomRecording,
    /// The last lines of chat, oldest first.
    pub chat: Vec<ChatLine>,
    /// How many watch.
    pub watchers: u32,
    /// For `RTCPeerConnection`.
    pub ice_servers: Vec<IceServer>,
    /// Whether a camera should be sent in several sizes.
    #[serde(default)]
    pub simulcast: bool,
    /// The server's version.
    pub version: String,
}

/// Why somebody is no longer in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveReason {
    /// Said so.
    Left,
    /// The connection was gone for too long.
    Lost,
    /// A host did it.
    Removed,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosedReason {
    /// The same session was resumed elsewhere.
    Replaced,
    /// A host put you out.
    Removed,
    /// A host ended the call for all.
    Ended,
    /// The token expired.
    Expired,
    /// The server stops.
    Stopping,
    /// The client was too slow to read, or broke the rules too often.
    Dropped,
}
