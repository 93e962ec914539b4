//! The wire protocol of Reelay: ids, messages and error codes, as plain values.
//! Knows no socket, clock or task; `PROTOCOL.md` beside this crate is the norm.

mod client;
mod error;
mod id;
mod model;
mod server;

pub use client::{ClientMessage, Join, Moderation, ParseError, PublishTrack, RecordingAction, ResumeMedia, parse};
pub use error::ErrorCode;
pub use id::{IdError, ParticipantId, RecordingId, RoomName, Source, TrackId};
pub use model::{
    ChatLine, Consent, Grants, IceServer, Kind, Participant, RecordingEvent, RecordingHappening, RecordingState,
    RecordingStatus, Role, RoomRecording, SubscribeTrack, Target, TrackState,
};
pub use server::{ClosedReason, Joined, LeaveReason, ServerMessage};

/// The WebSocket subprotocol that carries these messages.
pub const SUBPROTOCOL: &str = "reelay.v1";
