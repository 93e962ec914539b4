//! What a room tells its observers: facts, in order, without asking anything back.

use reelay_signaling::{
    ChatLine, Consent, ErrorCode, LeaveReason, Moderation, ParticipantId, RecordingAction, RoomName, Source, TrackId,
};
use tokio::sync::oneshot;

use crate::media::{Codec, RoomKey};

/// Something happened in a room.
#[derive(Debug)]
pub struct RoomEvent {
    /// The life of the room.
    pub room: RoomKey,
    /// Its name.
    pub name: RoomName,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// The room began.
    Opened,
    /// Somebody is in the roster.
    Joined {
        /// Who.
        participant: ParticipantId,
        /// The person behind, stable over stays.
        person: String,
        /// The name to show.
        name: String,
        /// Whether they agreed to be recorded.
        consent: Consent,
        /// The version of the words that were shown for it.
        wording: Option<String>,
    },
    /// Somebody is no longer in the roster.
    Left {
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
    /// What a source may send, by its negotiated SDP.
    Declared {
        /// Who.
        participant: ParticipantId,
        /// From what.
        source: Source,
        /// Sound was negotiated.
        audio: bool,
        /// A picture was negotiated.
        video: bool,
    },
    /// A track's first packet arrived (again).
    TrackStarted {
        /// Which.
        track: TrackId,
        /// What it is.
        codec: Codec,
        /// Audio channels.
        channels: u8,
    },
    /// A track ended.
    TrackEnded {
        /// Which.
        track: TrackId,
    },
    /// A track was switched off or on.
    Muted {
        /// Which.
        track: TrackId,
        /// Off or on.
        muted: bool,
    },
    /// Somebody agreed to be recorded, or not.
    Consent {
        /// Who.
        participant: ParticipantId,
        /// What they said.
        consent: Consent,
        /// The version of the words that were shown.
        wording: String,
    },
    /// A line of chat.
    Chat(ChatLine),
    /// Who speaks, loudest first.
    Speaking(Vec<ParticipantId>),
    /// Somebody started, stopped, paused or resumed the recording.
    Recording {
        /// What.
        action: RecordingAction,
        /// The name of who did it.
        by: Option<String>,
        /// Wants to hear whether it was done.
        answer: oneshot::Sender<Result<(), ErrorCode>>,
    },
    /// A host, or the API, did something to others.
    Moderated {
        /// What.
        moderation: Moderation,
        /// The name of who did it.
        by: Option<String>,
    },
    /// Somebody brought a token with other rights.
    RightsChanged {
        /// Who.
        participant: ParticipantId,
        /// The person behind.
        person: String,
    },
    /// Viewers without a seat: how many now.
    Watchers(u32),
    /// The room is over.
    Closed {
        /// True when the call was ended for all: nobody is expected back.
        ended: bool,
    },
}
